"""Studies that several tests declare."""

import pytest

from bayesdtr.study import Baseline, Bernoulli, Decision, Normal, Prior, Response, Saturated, Study, Utility, at_least, below, when


@pytest.fixture
def codiacs() -> Study:
    """Two decisions with two options each, the second tailored to a 0/1 response: 8 embedded regimes."""
    return Study(
        Decision("A1", ["medication", "therapy"]), Response("O2", Bernoulli()), Decision("A2", ["stay", "switch"]), Response("Y", Normal()),
        utility="Y",
    )


@pytest.fixture
def three_stages() -> Study:
    """The design page's example: 3 x 2 x 2 x 2 = 24 embedded regimes."""
    return Study(
        Decision("first", ["a", "b", "c"]), Response("r1", Bernoulli()),
        Decision("second", {when(r1=0): ["d", "e"], when(r1=1): ["stay"]}), Response("r2", Bernoulli()),
        Decision("third", ["f", "g"]), Response("y", Normal()),
        utility="y",
    )


@pytest.fixture
def rich() -> Study:
    """A study that uses nearly every part of the declaration."""
    return Study(
        Baseline("sbp"), Baseline("sex", levels=["female", "male"]),
        Decision("drug", {when(sbp=at_least(140)): ["a", "b"], when(sbp=below(140)): ["none"]}, probability={"a": 0.25, "b": 0.75}),
        Response("bp", Normal(), priors={"tau": Prior("HalfNormal", scale=2, reason="earlier trial")}), Response("harm", Bernoulli()),
        Decision("next", {when(harm=1): ["stop"], when(harm=0): ["stay", "more"]}, assigned="observed", tailoring=["harm", "sex"]),
        Response("relief", Bernoulli(), model=Saturated(over=["next", "harm"])), Response("qol", Normal()),
        utility=Utility({"qol": 1.0, "harm": -2.0}, discount=0.9), cluster="site", id="pid", mcid=0.5,
        reference={"drug": {when(sbp=at_least(140)): "a"}, "next": {when(harm=0): "stay"}},
        estimand={"death": "Counted as the worst quality of life."}, scales={"bp": (140, 15), "qol": 10.0},
    )
