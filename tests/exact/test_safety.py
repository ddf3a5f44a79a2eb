"""Safety gates against the enumeration of every deterministic regime that takes no removed option."""

import html
import re

import known
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesdtr as dtr
from bayesdtr import Bernoulli, Decision, Normal, Response, SafetyGate, Saturated, Study, Utility, when

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
CELLS = {"model": Saturated()}
DEFAULT = {"a": "q", "b": "x"}


def study() -> Study:
    """Harm depends on a response of its own stage, so that a gate at the first decision must average it out."""
    return Study(
        Decision("a", ["p", "q", "s"]), Response("r", Bernoulli(), **CELLS), Response("harm", Bernoulli(), model=Saturated(over=["a", "r"])),
        Decision("b", {when(r=0): ["x", "y", "z"], when(r=1): ["go"]}),
        Response("sick", Bernoulli(), model=Saturated(over=["a", "r", "b"])), Response("u", Normal(), model=Saturated(over=["a", "r", "b"])),
        utility=Utility({"r": 1.0, "harm": -0.5, "sick": -0.5, "u": 1.0}, discount=0.9),
    )


GATES = [SafetyGate("harm", above=0.5, probability=0.45), SafetyGate("sick", above=0.6, probability=0.3),
         SafetyGate("sick", below=0.2, probability=0.4)]


def beyond(law: known.Law, gate: SafetyGate, history: known.History, option: str) -> float:
    """Probability over draws, by sums over paths."""
    if gate.response == "harm":
        mean = sum(p * dict(law("harm", {**history, "a": option, "r": r}))[1] for r, p in law("r", {"a": option}))
    else:
        mean = dict(law("sick", {**history, "b": option}))[1]
    return float(((mean > gate.above) if gate.above is not None else (mean < gate.below)).mean())


def left(law: known.Law, decision: Decision, history: known.History) -> list[str]:
    """What gates leave, or the default."""
    options = known.offered(decision, history)
    mine = [g for g in GATES if g.response == ("harm" if decision.name == "a" else "sick")]
    found = [o for o in options if len(options) == 1 or all(beyond(law, g, history, o) <= g.probability for g in mine)]
    return found or [DEFAULT[decision.name]]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_the_constrained_rule_is_the_best_that_takes_no_removed_option(seed):
    made = study()
    draws = known.random_cells(made, seed)
    averaged, per_draw = known.cell_law(made, draws, True), known.cell_law(made, draws, False)
    posterior = known.posterior_with(made, draws, seed=seed)
    regime = dtr.optimize(posterior, safety=GATES, default=DEFAULT)
    free = {known.key_of(made, d.name, h): left(per_draw, d, h) for d in made.decisions for h in known.histories(made, d.name)}
    for position, name in ((0, "a"), (3, "b")):
        before = [h for h in known.histories(made, name) if len(known.offered(made[name], h)) > 1]
        frame = known.frame_of(before) if before != [{}] else pd.DataFrame({"row": [0]})
        shown = regime.recommend(frame, every_option=True)
        record = regime.gates(frame)
        for row, history in enumerate(before, start=1):
            key = known.key_of(made, name, history)
            admitted = lambda plan: all(o in free[k] for k, o in plan.items())  # noqa: E731
            plans = [(v, p) for v, p in known.all_regimes(made, averaged, history, position) if admitted(p)]
            value, plan = max(plans, key=lambda pair: pair[0])
            lines = shown[shown["patient"] == str(row)]
            assert set(lines["option"]) == set(free[key])
            (best,) = lines[lines["recommended"]].itertuples()
            assert best.option == plan[key] and best.expected_utility == pytest.approx(value, abs=1e-8)
            every = [v for v, p in known.all_regimes(made, per_draw, history, position) if admitted(p)]
            followed = next(v for v, p in known.all_regimes(made, per_draw, history, position) if p == plan)
            assert best.regret == pytest.approx(float(np.max(every, axis=0).mean() - followed.mean()), abs=1e-8)
            for line in record[record["patient"] == str(row)].itertuples():
                gate = next(g for g in GATES if g.label == line.limit)
                p = beyond(per_draw, gate, history, line.option)
                assert line.p_beyond == pytest.approx(p, abs=1e-12) and line.removed == (p > gate.probability)
                assert line.p_error >= np.sqrt(p * (1 - p) / regime.value_draws.size) - 1e-12 and (line.p_error > 0) == (0 < p < 1)
                assert line.mc_tie == (abs(p - gate.probability) <= 2 * line.p_error)
                assert line.shielded == (not any(all(beyond(per_draw, g, history, o) <= g.probability for g in GATES if g.response == gate.response)
                                                 for o in known.offered(made[name], history)))


def test_gates_that_remove_nothing_change_nothing():
    made = study()
    posterior = known.posterior_with(made, known.random_cells(made, 3), seed=3)
    free, lax = dtr.optimize(posterior), dtr.optimize(posterior, safety=SafetyGate("sick", above=0.999, probability=0.99))
    np.testing.assert_array_equal(free.value_draws, lax.value_draws)
    assert free.rules() == lax.rules() and sum(n for c in lax.shield().counts for _, n in c.removed) == 0


def test_what_is_removed_does_not_depend_on_thinned_draws():
    """Elsewhere draws of large problems are thinned; gates are judged by all of them, as the record says."""
    from bayesdtr.decision.learner import Learned
    from bayesdtr.decision.values import baseline_rows
    from bayesdtr.decision.world import Rows, World
    from bayesdtr.study.safety import Safety

    made = study()
    posterior = known.posterior_with(made, known.random_cells(made, 21, per_chain=200), seed=21)
    world = World.of(posterior).under(Safety.of(made, GATES, DEFAULT))
    rows = Rows({"a": np.repeat([0, 1, 2], 2), "r": np.zeros(6), "harm": np.tile([0.0, 1.0], 3)}, None, 6)
    whole, few = (Learned.of(w, baseline_rows(posterior), 1).qbar(1, rows) for w in (world, world.take(np.array([0, 7]))))
    np.testing.assert_array_equal(np.isfinite(whole), np.isfinite(few))
    assert not np.allclose(whole[np.isfinite(whole)], few[np.isfinite(few)])


def test_levels_are_limited_by_their_probability():
    """Too much harm and too little of its absence are the same."""
    posterior = known.posterior_with(study(), known.random_cells(study(), 5), seed=5)
    some, none = SafetyGate("sick", above=0.6, probability=0.3), SafetyGate("sick", levels=[0], below=0.4, probability=0.3)
    assert none.label == "P(sick = 0) < 0.4"
    one, two = (dtr.optimize(posterior, safety=g, default=DEFAULT) for g in (some, none))
    np.testing.assert_allclose(one.value_draws, two.value_draws, atol=1e-12)
    assert one.shield().counts[0].removed == two.shield().counts[0].removed


def test_a_constrained_regime_comes_back_and_is_compared_as_such(tmp_path):
    made = study()
    posterior = known.posterior_with(made, known.random_cells(made, 8), seed=8)
    regime = dtr.optimize(posterior, safety=GATES, default=DEFAULT)
    again = dtr.load(regime.save(tmp_path / "safe.nc"))
    assert again.safety == regime.safety and again.rules() == regime.rules()
    found = dtr.compare(posterior, regimes={"p then y": {"a": "p", "b": {when(r=0): "y", when(r=1): "go"}}}, against=regime)
    gain = found.rows[0].gain
    assert gain.mean == pytest.approx(regime.value().mean - found.rows[0].value.mean, abs=1e-10)


@pytest.mark.parametrize(("how", "words"), [
    ({"response": "hram", "above": 0.3}, "did you mean 'harm'"),
    ({"response": "harm"}, "takes one limit"),
    ({"response": "harm", "above": 0.3, "below": 0.1}, "got both"),
    ({"response": "harm", "above": 1.3}, "lies between 0 and 1"),
    ({"response": "harm", "above": 0.3, "probability": 1}, "probability must lie between 0 and 1"),
    ({"response": "harm", "above": 0.3, "levels": [2]}, "no level 2"),
    ({"response": "u", "above": 0.3, "levels": ["x"]}, "no finite list of values"),
])
def test_a_gate_that_does_not_fit_is_refused(how, words):
    posterior = known.posterior_with(study(), known.random_cells(study(), 1), seed=1)
    with pytest.raises(dtr.StudyError, match=words):
        dtr.optimize(posterior, safety=SafetyGate(how.pop("response"), **{"probability": 0.2, **how}))


@pytest.mark.parametrize(("default", "words"), [
    (None, "give default="),
    ({"b": "q"}, "default names 'q' at 'b'; options: 'x'"), ({"c": "x"}, "default names 'c'; decisions"), ("x", "takes a mapping"),
])
def test_defaults(default, words):
    posterior = known.posterior_with(study(), known.random_cells(study(), 1), seed=1)
    with pytest.raises(dtr.BayesDTRError, match=words):
        dtr.optimize(posterior, safety=SafetyGate("sick", above=0.0, probability=0.01), default=default)
    with pytest.raises(dtr.StudyError, match="give safety="):
        dtr.optimize(posterior, default={"b": "x"})


def test_a_report_tells_of_gates_and_how_to_set_them_again(tmp_path):
    posterior = known.posterior_with(study(), known.random_cells(study(), 8, per_chain=400), seed=8)
    regime = dtr.optimize(posterior, safety=GATES, default=DEFAULT)
    assert regime.posterior.verdict.status != "fail"
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", dtr.report(regime, tmp_path / "r.html").read_text())).split())
    shield = regime.shield()
    for count in shield.counts:
        for option, n in count.removed:
            assert f"{option} {n} of {count.patients}" in text
    assert "Safety: constraints, where they bind, options removed, default used CONSORT-ACE 2020, data monitoring under Results" in text
    (call,) = re.findall(r"dtr\.optimize\((posterior, .*?\})\)", text)
    again = eval(f"dtr.optimize({call})", {"dtr": dtr, "posterior": posterior})
    assert again.safety == regime.safety
