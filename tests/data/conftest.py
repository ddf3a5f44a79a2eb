"""Frames of every library, and the two-stage study most tests of the door use."""

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from bayesdtr.study import Baseline, Bernoulli, Decision, Normal, Response, Study, when

BACKENDS = {
    "pandas": lambda columns: pd.DataFrame(columns),
    "polars": lambda columns: pl.DataFrame(columns, strict=False),
    "pyarrow": lambda columns: pa.table(columns),
}


@pytest.fixture(params=list(BACKENDS))
def make(request):
    """A function that makes a frame of one library from a dict of lists."""
    return BACKENDS[request.param]


@pytest.fixture
def study() -> Study:
    """Two stages; the second offers a choice to those who did not improve."""
    return Study(
        Baseline("severity"),
        Baseline("sex", levels=["female", "male"]),
        Decision("first", ["medication", "therapy"]),
        Response("improved", Bernoulli()),
        Decision("second", {when(improved=0): ["augment", "switch"], when(improved=1): ["continue"]}),
        Response("drop", Normal()),
        utility="drop", cluster="site", id="pid",
    )


@pytest.fixture
def table() -> dict[str, list]:
    """Six patients of that study, all complete."""
    return {
        "pid": ["a", "b", "c", "d", "e", "f"],
        "site": ["x", "x", "y", "y", "x", "y"],
        "severity": [1.5, 2.0, 3.5, 4.0, 5.5, 6.0],
        "sex": ["female", "male", "male", "female", "male", "female"],
        "first": ["medication", "therapy", "medication", "therapy", "medication", "therapy"],
        "improved": [0, 0, 1, 1, 0, 0],
        "second": ["augment", "switch", None, "continue", "switch", "augment"],
        "drop": [1.0, 2.0, 3.0, 4.0, 5.0, 6.5],
    }
