"""Every gallery file declares a study that fits its patients; the CODIACS frame carries the published facts exactly."""

import importlib
import pkgutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesdtr.gallery
from bayesdtr.gallery import (
    activity_smart,
    adhd_smart,
    codiacs,
    leukemia_survival,
    small_n_smart,
    stepped_care_hypertension,
    three_arm_adaptive,
)
from bayesdtr.study import from_json, to_json
from bayesdtr.trial.nature import truth

ROOT = Path(__file__).parents[2]
NAMES = [module.name for module in pkgutil.iter_modules(bayesdtr.gallery.__path__)]
ENDED = {"leukemia_survival": {"response", "second", "t2", "died"}}
"""Columns that are empty for patients whose course or follow-up has ended."""
HEADINGS = ("Question", "Design", "Estimand", "Model and priors", "Assumptions", "Known limits", "Reference")


@pytest.fixture
def original():
    """The original CODIACS records, which lie beside the repository where they are at hand."""
    path = ROOT.parent / "shared" / "data" / "codiacs.csv"
    if not path.exists():
        pytest.skip("the original CODIACS records are not beside this checkout")
    return pd.read_csv(path)


def _codes(study, frame):
    columns = {}
    for name in study.names:
        options = getattr(study[name], "options", None)
        columns[name] = frame[name].map({o: i for i, o in enumerate(options)}).to_numpy() if options else frame[name].to_numpy()
    return columns


def test_the_gallery_holds_these_studies():
    assert NAMES == [
        "activity_smart", "adhd_smart", "codiacs", "leukemia_survival", "small_n_smart", "stepped_care_hypertension", "three_arm_adaptive"]


@pytest.mark.parametrize("design", [activity_smart, small_n_smart, three_arm_adaptive], ids=lambda m: m.__name__.rpartition(".")[2])
def test_designs_fit_their_studies_and_scenarios(design):
    assert design.design.study is design.study
    assert design.scenarios[0].name == "no difference"
    for scenario in design.scenarios:
        scenario.check(design.study)
    nothing, something = (truth(design.design, s) for s in design.scenarios)
    assert nothing.null
    assert not something.null
    assert something.optimal > max(nothing.values)


@pytest.mark.parametrize("name", NAMES)
def test_a_gallery_file_is_complete_and_short(name):
    module = importlib.import_module(f"bayesdtr.gallery.{name}")
    lines = module.__doc__.splitlines()
    assert lines[0].strip()
    for heading in HEADINGS:
        at = lines.index(heading)
        assert lines[at + 1] == "-" * len(heading), heading
        assert lines[at + 2].strip(), heading
    assert len((ROOT / "models" / f"{name}.py").read_text().splitlines()) <= 150


@pytest.mark.parametrize("name", NAMES)
def test_the_study_round_trips_and_fits_its_patients(name):
    module = importlib.import_module(f"bayesdtr.gallery.{name}")
    study, frame = module.study, module.patients()
    assert from_json(to_json(study)) == study
    assert set(study.names) <= set(frame.columns)
    assert frame.equals(module.patients())
    assert {column for column in frame if frame[column].isna().any()} == ENDED.get(name, set())
    history = _codes(study, frame)
    for decision in study.decisions:
        feasible, taken = study.feasible(decision.name, history), frame[decision.name].notna().to_numpy()
        assert feasible[np.flatnonzero(taken), history[decision.name][taken].astype(int)].all()
        for rules in (*study.embedded(), study.reference):
            # Whoever has an option has one under every regime, and nobody else has.
            assert ((rules.option(study, decision.name, history) >= 0) == feasible.any(axis=1)).all()


def test_the_embedded_regimes_are_those_of_the_designs():
    assert len(codiacs.study.embedded()) == 8
    assert len(adhd_smart.study.embedded()) == 4
    assert len(leukemia_survival.study.embedded()) == 4
    assert len(stepped_care_hypertension.study.embedded()) == 8
    assert len(three_arm_adaptive.study.embedded()) == 3
    assert len(small_n_smart.study.embedded()) == 6
    assert len(activity_smart.study.embedded()) == 4


def test_codiacs_cells_are_exact():
    groups = codiacs.patients().groupby(["first", "improved", "second"])["bdi_drop"]
    assert groups.ngroups == 8
    for cell, values in groups:
        n, total, squares = codiacs.CELLS[cell]
        variance = (Fraction(squares) - Fraction(total) ** 2 / n) / (n - 1)
        assert len(values) == n
        assert values.mean() == pytest.approx(total / n, abs=1e-12)
        assert values.var(ddof=1) == pytest.approx(float(variance), rel=1e-13, abs=1e-12)
    assert sum(n for n, _, _ in codiacs.CELLS.values()) == 108


# Printed by Cheung, Chakraborty & Davidson (2015): size, mean, variance.
PRINTED = {
    ("medication", 0, "stay"): (25, 1.32, 50.4766667),
    ("medication", 0, "switch"): (2, 10.5, 0.5),
    ("medication", 1, "stay"): (24, 10.875, 31.4184783),
    ("medication", 1, "switch"): (5, 5.2, 18.7),
    ("therapy", 0, "stay"): (5, 7.8, 8.7),
    ("therapy", 0, "switch"): (19, 5.1578947, 45.4736842),
    ("therapy", 1, "stay"): (2, 22, 242),
    ("therapy", 1, "switch"): (26, 10.8846154, 55.0661538),
}


def test_codiacs_cells_match_the_printed_table():
    groups = codiacs.patients().groupby(["first", "improved", "second"])["bdi_drop"]
    table = {cell: (len(v), v.mean(), v.var(ddof=1)) for cell, v in groups}
    assert table.keys() == PRINTED.keys()
    for cell, facts in PRINTED.items():
        assert table[cell] == pytest.approx(facts, abs=5e-8)


def test_codiacs_cells_match_the_original_records(original):
    labels = {"A1": ("medication", "therapy"), "A2": ("stay", "switch")}
    groups = codiacs.patients().groupby(["first", "improved", "second"])["bdi_drop"]
    for (a1, o2, a2), values in original.groupby(["A1", "O2", "A2"])["Y"]:
        cell = (labels["A1"][a1], o2, labels["A2"][a2])
        assert codiacs.CELLS[cell] == (len(values), values.sum(), (values**2).sum())
        rebuilt = groups.get_group(cell)
        assert rebuilt.mean() == pytest.approx(values.mean(), abs=1e-12)
        assert rebuilt.var(ddof=1) == pytest.approx(values.var(ddof=1), rel=1e-13, abs=1e-12)


def test_codiacs_warns_about_its_two_patients():
    limits = codiacs.__doc__.split("Known limits")[1]
    assert "TWO patients" in limits
