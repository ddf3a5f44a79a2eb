"""Decision bands over the rate of exchange between benefit and harm: closed forms, optimal regimes rate by rate, made-up functions."""

import known
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_enumeration import STUDIES

from bayesdtr import (
    Baseline,
    Bernoulli,
    Decision,
    DecisionError,
    Normal,
    Response,
    Saturated,
    Study,
    StudyError,
    Utility,
    at_least,
    below,
    exchange_bands,
    optimize,
    when,
    with_utility,
)
from bayesdtr.decision.worth.exchange import _bands

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
CELLS = {"model": Saturated()}


def test_treat_where_the_risk_exceeds_harm_over_benefit():
    """A preventive drug: events prevented against harms caused; the option turns where their ratio is the rate."""
    study = Study(
        Baseline("risk", levels=["low", "middle", "high"]), Decision("drug", ["no", "yes"]),
        Response("event", Bernoulli(), **CELLS), Response("harm", Bernoulli(), model=Saturated(over=["drug"])), utility=Utility({"event": -1.0}),
    )
    rng = np.random.default_rng(2)
    draws = {"event": {"probability": rng.uniform(0.01, 0.6, (2, 40, 6))}, "harm": {"probability": rng.uniform([0.01, 0.1], [0.05, 0.2], (2, 40, 2))}}
    posterior = known.posterior_with(study, draws)
    cells = list(posterior.compiled("event").coords["cell"])
    p = {c: draws["event"]["probability"][..., k].mean() for k, c in enumerate(cells)}
    caused = np.diff(draws["harm"]["probability"].mean(axis=(0, 1))).item()
    levels = ["low", "middle", "high"]
    bands = exchange_bands(posterior, pd.DataFrame({"risk": levels}), benefit=Utility({"event": -1.0}), harm="harm")
    some = 0
    for row, level in enumerate(levels, start=1):
        lines = bands[bands["patient"] == str(row)]
        prevented = p[f"{level}, no"] - p[f"{level}, yes"]
        if prevented <= 0:
            assert lines["option"].tolist() == ["no"] and lines[["from_rate", "to_rate"]].values.tolist() == [[0.0, np.inf]]
            continue
        some += 1
        assert lines["option"].tolist() == ["yes", "no"] and lines["from_rate"].tolist()[0] == 0 and lines["to_rate"].tolist()[1] == np.inf
        assert lines["to_rate"].tolist()[0] == lines["from_rate"].tolist()[1] == pytest.approx(prevented / caused, rel=1e-9)
    assert some
    half = exchange_bands(posterior, pd.DataFrame({"risk": levels}), benefit=Utility({"event": -1.0}), harm="harm", rates=(0.2, 0.3))
    assert half["from_rate"].min() == pytest.approx(0.2) and half["to_rate"].max() == pytest.approx(0.3)


PARTS = {
    "by_earlier_decision": (Utility({"r": 2.0, "u": 1.0}), Utility({"harm": 1.5, "late": 0.7}, discount=0.8)),
    "three_stages": (Utility({"u": 1.0, "s": 0.5}), Utility({"r": 1.0})),
    "continuous_reward": (Utility("u"), Utility({"gain": -0.3})),
}


def rate_by_rate(posterior, history, parts, rates):
    """The recommended option and its lead under ``benefit - rate * harm``, declared as a utility of its own."""
    benefit, harm = parts
    found = {}
    for rate in rates:
        # Weights by hand, discount included: the utilities of the cases differ in it.
        stage = lambda n: posterior.study.stage(n) - 1  # noqa: E731
        weights = {n: w * benefit.discount ** stage(n) for n, w in benefit.weights}
        for n, w in harm.weights:
            weights[n] = weights.get(n, 0.0) - rate * w * harm.discount ** stage(n)
        lines = optimize(with_utility(posterior, Utility(weights))).recommend(history, every_option=True)
        best = lines.sort_values("expected_utility")
        for patient, block in best.groupby("patient"):
            values = block["expected_utility"].tolist()
            found[patient, rate] = block["option"].tolist()[-1], values[-1] - values[-2] if len(values) > 1 else np.inf
    return found


def test_treat_exactly_where_the_risk_exceeds_a_threshold():
    """A drug that prevents the event, worth B, and harms everybody treated by H: treat where p(X) exceeds H / B, and not a hair below."""
    worth, harm = 8.0, 0.9
    study = Study(Baseline("risk", levels=["low", "middle", "high"]), Decision("drug", ["no", "yes"]), Response("event", Bernoulli(), **CELLS),
                  utility="event")
    rng = np.random.default_rng(4)
    event = rng.uniform(0.02, 0.4, (2, 30, 6))
    posterior = known.posterior_with(study, {"event": {"probability": event}})
    cells = list(posterior.compiled("event").coords["cell"])
    event[..., [i for i, c in enumerate(cells) if c.endswith("yes")]] = 0.0
    posterior = known.posterior_with(study, {"event": {"probability": event}})
    levels = ["low", "middle", "high"]
    asked = {"benefit": Utility({"event": -worth}), "harm": Utility({}, costs={"drug": {"yes": -harm}})}
    bands = exchange_bands(posterior, pd.DataFrame({"risk": levels}), **asked)
    for row, level in enumerate(levels, start=1):
        risk = event[..., cells.index(f"{level}, no")].mean()
        lines = bands[bands["patient"] == str(row)]
        assert lines["option"].tolist() == ["yes", "no"]
        assert lines["to_rate"].tolist()[0] == pytest.approx(risk * worth / harm, rel=1e-9)
        for near, option in ((1 - 1e-6, "yes"), (1 + 1e-6, "no")):  # the threshold H / B just below and just above this patient's risk
            priced = Utility({"event": -worth}, costs={"drug": {"yes": risk * worth * near}})
            best = optimize(with_utility(posterior, priced)).recommend(pd.DataFrame({"risk": [level]}))
            assert best["option"].item() == option


@pytest.mark.parametrize("name", PARTS)
def test_bands_are_the_optimal_regimes_of_every_rate(name):
    study = STUDIES[name]()
    posterior = known.posterior_with(study, known.random_cells(study, 3), seed=3)
    rates, turns = np.geomspace(0.03, 40, 11), 0
    for decision in study.decisions:
        before = [h for h in known.histories(study, decision.name) if len(known.offered(decision, h))]
        history = known.frame_of(before) if before != [{}] else known.frame_of([{"row": 0}])
        bands = exchange_bands(posterior, history, benefit=PARTS[name][0], harm=PARTS[name][1])
        direct = rate_by_rate(posterior, history, PARTS[name], rates)
        for patient, lines in bands.groupby("patient"):
            assert lines["from_rate"].tolist()[0] == 0 and lines["to_rate"].tolist()[-1] == np.inf
            assert lines["from_rate"].tolist()[1:] == lines["to_rate"].tolist()[:-1]
            assert all(a != b for a, b in zip(lines["option"], lines["option"][1:], strict=False))
            turns += len(lines) - 1
            for rate in rates:
                option, lead = direct[patient, rate]
                (band,) = lines["option"][(lines["from_rate"] <= rate) & (rate < lines["to_rate"])]
                assert band == option or lead < 1e-8 * (1 + rate)
    assert turns  # some recommendation depends on the rate


def test_units_do_not_matter():
    """A benefit in millions against a rare harm: the same options, at rates in the ratio of the units."""
    study = STUDIES["three_stages"]()
    posterior, turns = known.posterior_with(study, known.random_cells(study, 5)), 0
    for decision in study.decisions:
        before = [h for h in known.histories(study, decision.name) if len(known.offered(decision, h))]
        history = known.frame_of(before) if before != [{}] else known.frame_of([{"row": 0}])
        plain = exchange_bands(posterior, history, benefit="u", harm=Utility({"r": 1.0, "s": 0.4}))
        odd = exchange_bands(posterior, history, benefit=Utility({"u": 1e6}), harm=Utility({"r": 1e-5, "s": 0.4e-5}))
        assert plain["option"].tolist() == odd["option"].tolist()
        turns += len(plain) - len(before)
        np.testing.assert_allclose(odd["to_rate"], plain["to_rate"] * 1e11, rtol=1e-6)
    assert turns


def test_a_continuous_response_in_between():
    """Later decisions that turn at one patient's outcome after another's: bands follow the committed rule of every rate."""
    study = Study(
        Decision("a", ["p", "q", "r"]), Response("x", Normal(), model=Saturated(over=["a"])),
        Decision("b", {when(x=at_least(0.4)): ["s", "t"], when(x=below(0.4)): ["t"]}), Response("y", Bernoulli(), model=Saturated(over=["a", "b"])),
        utility=Utility({"y": 1.0}),
    )
    posterior = known.posterior_with(study, known.random_cells(study, 8))
    parts = (Utility("y"), Utility({"x": 0.2, "y": 0.1}))
    history, rates = known.frame_of([{"row": 0}]), np.geomspace(0.05, 15, 8)
    bands = exchange_bands(posterior, history, benefit=parts[0], harm=parts[1])
    for (_, rate), (option, lead) in rate_by_rate(posterior, history, parts, rates).items():
        (band,) = bands["option"][(bands["from_rate"] <= rate) & (rate < bands["to_rate"])]
        assert band == option or lead < 1e-8


class MadeUp:
    """Convex piecewise-linear values of options: the highest of a few lines each."""

    def __init__(self, lines):
        self.lines = lines
        rows, options = lines.shape[:2]
        self.root = type("Root", (), {"rows": type("Rows", (), {"n": rows})(), "feasible": np.ones((rows, options), dtype=bool)})()

    def options(self, w):
        values = self.lines[..., 0] + self.lines[..., 1] * w[:, None, None]
        top = values.argmax(axis=2)[..., None]
        return np.take_along_axis(values, top, 2)[..., 0], np.take_along_axis(self.lines[..., 1], top, 2)[..., 0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 10_000))
def test_no_band_is_missed(options, pieces, seed):
    rng = np.random.default_rng(seed)
    slopes = rng.normal(size=(3, options, pieces))
    lines = np.stack([rng.normal(size=slopes.shape) * 0.2 - slopes * rng.uniform(0, 1, slopes.shape), slopes], axis=-1)
    tree, grid = MadeUp(lines), (np.arange(4000) + 0.5) / 4000
    for row, bands in enumerate(_bands(tree, np.zeros(3), np.ones(3))):
        values = (lines[row, :, :, 0][None] + lines[row, :, :, 1][None] * grid[:, None, None]).max(axis=2)
        ends = np.array([b for _, b, _ in bands])
        assert bands[0][0] == 0 and bands[-1][1] == 1 and [a for a, _, _ in bands[1:]] == [b for _, b, _ in bands[:-1]]
        said = np.array([o for _, _, o in bands])[np.minimum(np.searchsorted(ends, grid), len(ends) - 1)]
        assert (values.max(axis=1) - values[np.arange(len(grid)), said] < 1e-8).all()


def test_what_is_refused():
    study = STUDIES["three_stages"]()
    posterior = known.posterior_with(study, known.random_cells(study, 1))
    frame = known.frame_of([{"row": 0}])
    for rates, said in (((1, 1), "0 <= lowest < highest, got \\(1, 1\\)"), ((-1, 2), "0 <= lowest"), (3, "a pair of numbers"), (("a", 2), "a pair")):
        with pytest.raises(DecisionError, match=said):
            exchange_bands(posterior, frame, benefit="u", harm="r", rates=rates)
    with pytest.raises(StudyError, match="names 'cost'"):
        exchange_bands(posterior, frame, benefit="u", harm="cost")
    with pytest.raises(DecisionError, match="benefit is a Utility or the name of a response, got"):
        exchange_bands(posterior, frame, benefit={"u": 1.0}, harm="r")
    with pytest.raises(DecisionError, match="takes a Posterior, got int"):
        exchange_bands(3, frame, benefit="u", harm="r")
