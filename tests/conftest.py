"""Fixtures shared by the whole suite."""

import dataclasses
import functools
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import pytest

import bayesdtr as dtr

ANALYSES = {"codiacs_analysis", "adhd_analysis", "hypertension_analysis", "any_analysis"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which tests run in one process: a file's, those of a folder that shares fitted posteriors, and those of all files with an analysis above.

    A scheduler of our own: marks of groups are not heeded by pytest-xdist 3.8 under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(config.rootpath / nodeid.split("::", 1)[0])

    return Grouped(config, log)


@functools.cache
def _group(path: Path) -> str:
    """The group of a file's tests."""
    if path.parent.name == "properties":
        return "properties"
    text = path.read_text(encoding="utf-8") if path.suffix == ".py" and path.exists() else ""
    return "analyses" if any(name in text for name in ANALYSES) else str(path)


MOST_MAPS = 30_000
"""Memory maps of a process, of which Linux allows 65,530, before its programs are dropped; each program takes some."""


def drop_programs() -> None:
    """Forget every compiled program and whatever holds one."""
    for module in [m for name, m in sys.modules.items() if name.startswith("bayesdtr")]:
        for value in list(vars(module).values()):
            if callable(getattr(value, "cache_clear", None)):
                value.cache_clear()
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def room_for_programs() -> Iterator[None]:
    """Between files, drop the programs of a process that has many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        drop_programs()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no folder of shared data at {folder}")
    return folder


@dataclass(frozen=True)
class Analysis:
    """A fitted gallery study with everything that plots and reports need."""

    regime: Any
    comparison: Any
    cells: Any

    @property
    def posterior(self) -> Any:
        return self.regime.posterior


def analysed(module: Any, patients: int | None = None, **how: Any) -> Analysis:
    """Fit with few draws, optimize, compare."""
    data = module.patients()
    posterior = dtr.fit(module.study, data if patients is None else data.head(patients), seed=1, progress=False, **how)
    if posterior.verdict.status == "fail":  # so few draws may not pass the gate, and what lies behind it is to be tested
        posterior = dataclasses.replace(posterior, verdict=dataclasses.replace(posterior.verdict, status="warn"))
    regime = dtr.optimize(posterior)
    return Analysis(regime, dtr.compare(posterior), regime.cells())


@pytest.fixture(scope="session")
def codiacs_analysis() -> Analysis:
    """Observed treatments, two cells of two patients, exact posterior."""
    from bayesdtr.gallery import codiacs

    return analysed(codiacs, engine="exact", draws=4000)


@pytest.fixture(scope="session")
def adhd_analysis() -> Analysis:
    """Randomized, covariates, a forced option after response."""
    from bayesdtr.gallery import adhd_smart

    return analysed(adhd_smart, draws=200, warmup=300, chains=2)


@pytest.fixture(scope="session")
def hypertension_analysis() -> Analysis:
    """Three decisions, thresholds open and close them."""
    from bayesdtr.gallery import stepped_care_hypertension

    return analysed(stepped_care_hypertension, patients=120, draws=200, warmup=300, chains=2)


@pytest.fixture(params=["codiacs", "adhd", "hypertension"])
def any_analysis(request) -> Analysis:
    """Each of the three in turn."""
    return request.getfixturevalue(f"{request.param}_analysis")
