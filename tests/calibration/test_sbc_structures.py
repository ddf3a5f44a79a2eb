"""Calibration of NUTS structure by structure: several responses, clusters, sequences, what responses share, sparse and smooth effects."""

import pytest
from sbc import calibrated

import bayesdtr as dtr

pytestmark = pytest.mark.slow
SITES = tuple(f"s{i}" for i in range(6))
X = dtr.Baseline("x")
FIRST = dtr.Decision("a", ["p", "q", "r"])
SECOND = dtr.Decision("b", {dtr.when(r=0): ["s", "t"], dtr.when(r=1): ["stay"]})
UNITS = {"x": (0.0, 1.0), "y": (0.0, 1.0)}


def two_stages(family, utility="y", scales=UNITS, patients_share=(), **model):
    how = {"model": dtr.Hierarchical(**model)} if model else {}
    return dtr.Study(X, FIRST, dtr.Response("r", dtr.Bernoulli()), SECOND, dtr.Response("y", family, **how), utility=utility, scales=scales,
                     patient_effects=patients_share)


def one_stage(names, options, **model):
    return dtr.Study(*map(dtr.Baseline, names), dtr.Decision("a", options), dtr.Response("y", dtr.Normal(), model=dtr.Hierarchical(**model)),
                     utility="y", scales={n: (0.0, 1.0) for n in (*names, "y")})


def clusters(family):
    scales = UNITS if family.support is None else {"x": (0.0, 1.0)}
    return dtr.Study(X, FIRST, dtr.Response("y", family), utility="y", cluster="site", scales=scales)


def efficacy_and_toxicity():
    table = {("efficacy", "toxicity"): {(0, 0): 40, (0, 1): 0, (1, 0): 100, (1, 1): 60}}
    return dtr.Study(X, FIRST, dtr.Response("efficacy", dtr.Bernoulli()), dtr.Response("toxicity", dtr.Bernoulli()), utility=dtr.Utility(table),
                     scales={"x": (0.0, 1.0)})


def pooled():
    return dtr.Study(X, FIRST, dtr.Response("y1", dtr.Bernoulli()), dtr.Decision("b", ["p", "q", "r"]), dtr.Response("y2", dtr.Bernoulli()),
                     utility=dtr.Utility({"y1": 1.0, "y2": 1.0}), scales={"x": (0.0, 1.0)}, pool_stages=["y1", "y2"])


COVARIATES = ["x1", "x2", "x3", "x4"]
STRUCTURES = {
    "stage two given stage one": lambda: two_stages(dtr.Normal()),
    "efficacy and toxicity": efficacy_and_toxicity,
    "clusters, and by treatment": lambda: clusters(dtr.Normal()),
    "clusters, binary response": lambda: clusters(dtr.Bernoulli()),
    "embedded sequences": lambda: two_stages(dtr.Normal(), sequences=True),
    "horseshoe": lambda: one_stage(COVARIATES, ["p", "q"], interactions="horseshoe", relevant=1, patients=80),
    "r2d2": lambda: one_stage(COVARIATES, ["p", "q", "r"], interactions="r2d2"),
    "smooth": lambda: one_stage(["x"], ["p", "q"], covariates="s(x)", modifiers="s(x)"),
    "pooled stages": pooled,
    "patient effects": lambda: two_stages(dtr.Normal(), patients_share=["r", "y"]),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_is_calibrated(name):
    study = STRUCTURES[name]()
    calibrated(name, study, patients=80, seed=13, clusters=SITES if study.cluster else (), share=0.2 if study.shared else 1.0)
