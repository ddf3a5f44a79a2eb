"""summary.json: the numbers of regime and comparison, in strict JSON with stable keys."""

import dataclasses
import json
import math

import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr.errors import DecisionError, FileError
from bayesdtr.reporting import summary, write_figures, write_summary
from bayesdtr.reporting.material import strict

KEYS = ["schema_version", "study", "engine", "seed", "versions", "stacked", "data", "diagnostics", "withheld", "withheld_reason", "regime", "safety",
        "value", "honest_value", "prior_effective_sample_size", "embedded_regimes", "best_set", "reference", "decisions", "extrapolation",
        "ties", "value_of_information", "subgroups", "prior_starts_best"]


def refuse(name):
    raise AssertionError(f"{name} is not JSON")


def test_keys_and_strictness(any_analysis, tmp_path):
    path = write_summary(any_analysis.regime, tmp_path / "summary.json", comparison=any_analysis.comparison)
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert list(found) == KEYS
    assert found == summary(any_analysis.regime, any_analysis.comparison)
    assert len(found["study"]["hash"]) == 64 and found["study"]["timeline"][0].startswith("1. ")
    assert found["honest_value"] is None and not found["withheld"]
    worth = {(p["response"], p["address"]): p for p in found["prior_effective_sample_size"]}
    assert worth and all(p["ess"] is None or p["ess"] >= 0 for p in worth.values())
    for line in dtr.priors(any_analysis.posterior).lines:
        assert worth[line.response, line.address]["ess"] == line.ess


def test_an_honest_value_of_other_data_is_refused(codiacs_analysis):
    posterior = codiacs_analysis.posterior
    honest = dtr.HonestValue(posterior.study, "0" * 64, 1.0, 0.1, 50, np.array([1.0]), 40.0, 4.0, (), 1.0, "seed=1")
    with pytest.raises(DecisionError, match="of other data"):
        summary(codiacs_analysis.regime, codiacs_analysis.comparison, honest_value=honest)
    mine = dataclasses.replace(honest, data_hash=posterior.trajectories.hash)
    found = summary(codiacs_analysis.regime, codiacs_analysis.comparison, honest_value=mine)["honest_value"]
    assert (found["mean"], found["spread"], found["reliable"]) == (1.0, None, True)
    with pytest.raises(DecisionError, match="got float"):
        summary(codiacs_analysis.regime, codiacs_analysis.comparison, honest_value=1.0)


def test_numbers_are_those_of_regime_and_comparison(any_analysis):
    regime, comparison = any_analysis.regime, any_analysis.comparison
    found, value = summary(regime, comparison), regime.value()
    assert found["regime"]["rules"] == regime.rules()
    assert found["value"] == {"mean": value.mean, "sd": value.sd, "interval": [value.lower, value.upper], "ci_prob": 0.95, "mcse": value.mcse}
    for row, r in zip(found["embedded_regimes"], comparison.rows, strict=True):
        assert (row["rules"], row["mean"], row["p_best"], row["in_best_set"], row["patients"]) == (
            r.rules.label, r.value.mean, r.p_best, r.in_best_set, r.patients)
        assert row["minus_reference"] == {"mean": r.contrast.mean, "interval": [r.contrast.lower, r.contrast.upper]}
    for row, c in zip(found["decisions"], any_analysis.cells, strict=True):
        assert (row["decision"], row["cell"], row["option"], row["patients"], row["regret"]) == (
            c.decision, dict(c.history), c.option, c.patients, c.regret)
        assert [o["expected_utility"] for o in row["options"]] == [o.expected_utility for o in c.options]
    d = found["diagnostics"]
    assert d["status"] == regime.posterior.verdict.status and d["reasons"] == list(regime.posterior.verdict.reasons)
    assert len(d["predictive"]) == len(regime.posterior.verdict.predictive)


def test_codiacs_says_what_is_sparse(codiacs_analysis):
    found = summary(codiacs_analysis.regime, codiacs_analysis.comparison, prior_starts_best={"medication": 0.5, "therapy": 0.5})
    cell = next(p for p in found["diagnostics"]["positivity"] if p["cell"] == {"first": "therapy", "improved": "1"})
    assert cell["options"] == {"stay": 2, "switch": 26}
    assert found["reference"] == "medication; stay" and found["prior_starts_best"]["therapy"] == 0.5


def test_what_json_cannot_hold():
    assert strict({"a": [math.nan, math.inf, 1.5, (True, None)]}) == {"a": [None, None, 1.5, [True, None]]}
    with pytest.raises(DecisionError):
        strict(object())


def test_files(codiacs_analysis, tmp_path):
    with pytest.raises(FileError, match=r"\.json"):
        write_summary(codiacs_analysis.regime, tmp_path / "summary.txt", comparison=codiacs_analysis.comparison)
    paths = write_figures(codiacs_analysis.regime, codiacs_analysis.comparison, tmp_path / "figures")
    assert [p.name for p in paths] == ["timeline.png", "priors.png", "predictive.png", "embedded.png", "regime_tree.png", "options.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in paths)
    with pytest.raises(FileError):
        write_figures(codiacs_analysis.regime, codiacs_analysis.comparison, tmp_path / "a" / "b")
