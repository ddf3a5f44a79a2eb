"""Static, guideline and stepped regimes, and lotteries, over three decisions of a gallery study with its parameters known."""

import numpy as np
import pymc as pm
import pytest

import bayesdtr as dtr
from bayesdtr import Lottery, Response, at_least, below, fit, otherwise, when
from bayesdtr.gallery import stepped_care_hypertension as gallery
from bayesdtr.simulators import always, hypertension

PATIENTS, FRESH = 4000, 100_000


def sbp1(history):
    mean = 149 + 0.85 * (history["sbp"] - 156) + (history["age"] - 60) / 10 - history.code("lifestyle") * (5 - 2 * history["diabetes"])
    return pm.Normal("sbp1", mean, 6.0)


def sbp2(history):
    t, calcium = (history["age"] - 60) / 10, pm.math.eq(history.code("drug"), 1)
    treated = 130 + 0.8 * (history["sbp1"] - 145) - calcium * (1 + 2 * t) - 4 * history["diabetes"] * (1 - calcium)
    return pm.Normal("sbp2", pm.math.switch(pm.math.eq(history.code("drug"), 2), 140 + 0.8 * (history["sbp1"] - 138), treated), 5.0)


def benefit(history):
    t, calcium, drug = (history["age"] - 60) / 10, pm.math.eq(history.code("drug"), 1), pm.math.neq(history.code("drug"), 2)
    double = pm.math.eq(history.code("dose"), 1) * (2 + 0.3 * (history["sbp2"] - 150) - 1.5 * t - 2 * calcium)
    return pm.Normal("benefit", history["sbp"] - history["sbp2"] - history.code("lifestyle") - (3 + calcium) * drug + double, 6.0)


KNOWN = {"sbp1": sbp1, "sbp2": sbp2, "benefit": benefit}
CARE = {
    "static": {"lifestyle": "program", "drug": "ace_inhibitor", "dose": "keep"},
    "guideline": {"lifestyle": {when(sbp=at_least(160)): "program", otherwise: "advice"},
                  "drug": {when(diabetes=1): "ace_inhibitor", when(age=below(55)): "ace_inhibitor", otherwise: "calcium_blocker"}, "dose": "double"},
    "stepped": {"lifestyle": "advice", "drug": {when(sbp1=at_least(155)): "calcium_blocker", otherwise: "ace_inhibitor"},
                "dose": {when(sbp2=at_least(148)): "double", when(sbp2=below(148)): "keep"}},
    "by lot": {"lifestyle": Lottery({"advice": 0.8, "program": 0.2}), "drug": "ace_inhibitor",
               "dose": {when(sbp2=at_least(150)): Lottery({"double": 0.9, "keep": 0.1}), otherwise: "keep"}},
    "trial": "as assigned",
}


def choose(test, yes, no):
    return lambda frame: np.where(test(frame), yes, no).astype(object)


def lot(chance, yes, no, seed):
    return lambda frame: np.where(np.random.default_rng(seed).random(len(frame)) < chance(frame), yes, no).astype(object)


# The same regimes as the generator takes them; whoever has no choice gets what is feasible whatever they say.
PLAYED = {
    "static": {"lifestyle": always("program"), "drug": always("ace_inhibitor"), "dose": always("keep")},
    "guideline": {"lifestyle": choose(lambda f: f.sbp >= 160, "program", "advice"),
                  "drug": choose(lambda f: (f.diabetes == 1) | (f.age < 55), "ace_inhibitor", "calcium_blocker"), "dose": always("double")},
    "stepped": {"lifestyle": always("advice"), "drug": choose(lambda f: f.sbp1 >= 155, "calcium_blocker", "ace_inhibitor"),
                "dose": choose(lambda f: f.sbp2 >= 148, "double", "keep")},
    "by lot": {"lifestyle": lot(lambda f: 0.2, "program", "advice", 1), "drug": always("ace_inhibitor"),
               "dose": lot(lambda f: 0.9 * (f.sbp2 >= 150), "double", "keep", 2)},
    "trial": {},
}


@pytest.fixture(scope="module")
def posterior():
    timeline = [Response(n.name, model=KNOWN[n.name]) if isinstance(n, Response) else n for n in gallery.study.timeline]
    study = dtr.Study(*timeline, utility="benefit", reference=CARE["by lot"], mcid=1.0)
    return fit(study, hypertension.simulate(PATIENTS, seed=7), seed=1, progress=False)  # the patients lend their covariates only


@pytest.fixture(scope="module")
def found(posterior):
    return dtr.compare(posterior, regimes=CARE)


def test_regimes_have_the_values_that_the_generator_gives_them(found):
    assert found.method.startswith("simulation")
    frames = {n: hypertension.simulate(FRESH, seed=3, policy=p)["benefit"].to_numpy() for n, p in PLAYED.items()}
    true = {n: b.mean() for n, b in frames.items()}
    exact = hypertension.truth().regimes["program; ace_inhibitor; keep"].value
    spread = max(b.std() for b in frames.values())
    assert abs(true["static"] - exact) < 4 * spread / np.sqrt(FRESH)
    # 4,000 simulated patients, whose covariates are those of 4,000 drawn from the same law.
    for row in found.rows:
        assert abs(row.value.mean - true[row.label]) < 4 * spread * np.sqrt(1 / PATIENTS + 1 / 4000), row.label
    # Contrasts are on the same patients and the same luck, so they are much nearer.
    for row in found.rows:
        d = frames[row.label] - frames["by lot"]
        assert abs(row.contrast.mean - d.mean()) <= 4 * d.std() / np.sqrt(4000), row.label
    assert {r.label: r.contrast.mean for r in found.rows}["by lot"] == 0
    assert found.frame()["patients"].tolist()[-1] == PATIENTS  # everybody follows the trial's own lottery


def test_it_prints(posterior, found):
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100 and "with a lottery: by any of its options" in text
    assert "reference regime: advice 80% or program 20%; ace_inhibitor; double 90% or keep 10%" in str(posterior.study)
    rules = found.frame()["rules"].tolist()
    assert rules[1] == ("program if sbp >= 160, advice otherwise; ace_inhibitor if diabetes = 1, ace_inhibitor if age < 55, "
                        "calcium_blocker otherwise; double")
    assert rules[3] == "advice 80% or program 20%; ace_inhibitor; double 90% or keep 10% if sbp2 >= 150, keep otherwise"
