"""Published test-beds with known parameters: the truth comes back to rounding error."""

import known
import numpy as np
import pytest
from scipy.special import expit

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, compare, optimize
from bayesdtr.simulators import chakraborty, codiacs_qol
from bayesdtr.study.saturated import saturated_cells

# Four equal draws have no effective sample size to speak of; that the verdict says so is not at stake here.
pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
SIGN = {"0": -1, "1": 1, "-1": -1, "+1": 1}


def known_draws(study: Study, of: dict) -> dict:
    """Four equal draws of every cell's parameter, from a function of the cell's labels."""
    draws = {}
    for response in study.responses:
        cells = [of[response.name](*label.split(", ")) for label in saturated_cells(study, response).labels]
        name = "probability" if response.support else "mean"
        draws[response.name] = {name: np.tile(np.array(cells, dtype=float), (1, 4, 1))}
        if not response.support:
            draws[response.name]["sigma"] = np.ones((1, 4))
    return draws


NINE = Study(
    Baseline("o1", levels=["0", "1"]), Decision("first", chakraborty.OPTIONS), Response("o2", Bernoulli(), model=Saturated()),
    Decision("second", chakraborty.OPTIONS), Response("y", Normal(), model=Saturated()), utility="y",
)


@pytest.mark.parametrize("example", chakraborty.EXAMPLES)
def test_nine_nonregular_examples(example):
    g3, g5, g6, g7, d1, d2 = chakraborty.EXAMPLES[example]
    draws = known_draws(NINE, {
        "o2": lambda o1, a1: expit(d1 * SIGN[o1] + d2 * SIGN[a1]),
        "y": lambda o1, a1, o2, a2: g3 * SIGN[a1] + SIGN[a2] * (g5 + g6 * SIGN[o2] + g7 * SIGN[a1]),
    })
    posterior = known.posterior_with(NINE, draws)
    regime, truth = optimize(posterior), chakraborty.truth(example)
    answer = regime.recommend(known.frame_of([{"o1": "0"}, {"o1": "1"}]))
    # The covariate's law is estimated in a posterior and known here: one half each.
    assert answer["expected_utility"].mean() == pytest.approx(truth.optimal.value, abs=1e-8)
    every = regime.recommend(known.frame_of([{"o1": "0"}, {"o1": "1"}]), every_option=True).set_index(["patient", "option"])["expected_utility"]
    half = [(every[p, "+1"] - every[p, "-1"]) / 2 for p in ("1", "2")]
    assert (half[1] + half[0]) / 2 == pytest.approx(truth.details["psi10"], abs=1e-8)
    assert (half[1] - half[0]) / 2 == pytest.approx(truth.details["psi11"], abs=1e-8)
    if truth.details["tie"]:
        assert answer["near_tie"].all()
    else:
        frame = known.frame_of([{"o1": 0}, {"o1": 1}])
        assert answer["option"].tolist() == truth.optimal.policy["first"](frame).tolist()
    last = known.frame_of(list(known.histories(NINE, "second")))
    told = regime.recommend(last)
    gain = np.array([g5 + g6 * SIGN[str(r.o2)] + g7 * SIGN[r.first] for r in last.itertuples()])
    assert (told["option"] == "+1")[gain > 1e-9].all() and (told["option"] == "-1")[gain < -1e-9].all()


DEPRESSION = Study(
    Decision("first", codiacs_qol.FIRST), Response("improved", Bernoulli(), model=Saturated()),
    Decision("second", codiacs_qol.SECOND), Response("y", Normal(), model=Saturated()), utility="y",
)
# Optimal regime (first; second if not improved, if improved) and its value; published coefficients, enumerated independently.
FIVE = {"S1": ("100", 15.4462), "S2": ("110", 16.4814), "S3": ("010", 10.2157), "S4": ("111", 14.2134), "S5": ("100", 15.4462)}
EIGHT = {"000": 6.2168, "001": 3.7565, "010": 10.2157, "011": 7.7554, "100": 15.4462, "101": 9.9199, "110": 13.6886, "111": 8.1624}


@pytest.mark.parametrize("scenario", codiacs_qol.SCENARIOS)
def test_five_scenarios_of_a_depression_trial(scenario):
    first, second = codiacs_qol.FIRST, codiacs_qol.SECOND
    draws = known_draws(DEPRESSION, {
        "improved": lambda a1: codiacs_qol.IMPROVES[first.index(a1)],
        "y": lambda a1, r, a2: float(codiacs_qol.mean(scenario, first.index(a1), int(r), second.index(a2))),
    })
    posterior = known.posterior_with(DEPRESSION, draws)
    truth, regime = codiacs_qol.truth(scenario), optimize(posterior)
    label, value = FIVE[scenario]
    assert truth.optimal.value == pytest.approx(value, abs=5e-5)  # printed with four decimals
    np.testing.assert_allclose(regime.value_draws, truth.optimal.value, atol=1e-8)
    table = compare(posterior)
    named = {}
    for row in table.rows:
        a1 = known.chosen(row.rules, DEPRESSION["first"], {})
        codes = [second.index(known.chosen(row.rules, DEPRESSION["second"], {"first": a1, "improved": r})) for r in (0, 1)]
        named[f"{first.index(a1)}{codes[0]}{codes[1]}"] = row.value.mean
    assert named == pytest.approx({n: k.value for n, k in truth.regimes.items()}, abs=1e-8)
    if scenario == "S1":
        assert named == pytest.approx(EIGHT, abs=5e-5)
    assert max(named, key=named.__getitem__) == label
    told = [regime.recommend(known.frame_of([h]))["option"].item() for h in (
        {"row": 0}, {"first": first[int(label[0])], "improved": 0}, {"first": first[int(label[0])], "improved": 1})]
    assert told == [first[int(label[0])], second[int(label[1])], second[int(label[2])]]
