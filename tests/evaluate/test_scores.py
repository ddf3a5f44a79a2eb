"""Scores have the rule's value as their mean: sums over every course that a patient can take, not simulations."""

import known
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, SafetyGate, Saturated, Study, Utility, when
from bayesdtr.data import read
from bayesdtr.decision.learner import Learned
from bayesdtr.decision.values import baseline_rows
from bayesdtr.decision.world import World
from bayesdtr.evaluate.scores import Record, scores
from bayesdtr.study.safety import Safety

CELLS = {"model": Saturated()}
pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


def two_stages() -> Study:
    """Sets by a response; a weighted intermediate response; one option declared more likely than the other."""
    return Study(
        Baseline("sex", levels=["f", "m"]),
        Decision("a", ["p", "q"], probability={"p": 0.7, "q": 0.3}), Response("r", Bernoulli(), **CELLS),
        Decision("b", {when(r=0): ["x", "y", "z"], when(r=1): ["go"]}), Response("u", Normal(), model=Saturated(over=["a", "r", "b"])),
        utility=Utility({"r": 0.5, "u": 1.0}, discount=0.9),
    )


def with_exits() -> Study:
    """Those who respond are done; the others go on, and what they earned is kept."""
    return Study(
        Decision("a", ["p", "q"]), Response("r", Bernoulli(), **CELLS),
        Decision("b", {when(r=0): ["x", "y"], when(r=1): []}), Response("u", Normal(), **CELLS),
        utility=Utility({"r": 2.0, "u": 1.0}),
    )


def rare_default() -> Study:
    """The last option is hardly ever assigned, and done where gates leave nothing."""
    return Study(
        Baseline("sex", levels=["f", "m"]), Decision("a", ["p", "q"]), Response("r", Bernoulli(), **CELLS),
        Decision("b", {when(r=0): ["x", "y", "z"], when(r=1): ["go"]}, probability={"x": 0.49, "y": 0.49, "z": 0.02}),
        Response("u", Normal(), model=Saturated(over=["a", "r", "b"])), utility=Utility({"r": 0.5, "u": 1.0}),
    )


GATES, DEFAULTS = [SafetyGate("r", below=0.5, probability=0.4), SafetyGate("u", below=0.5, probability=0.45)], {"a": "q", "b": "z"}
"""Of random draws they remove about half of all options."""
STUDIES = {f.__name__: f for f in (two_stages, with_exits)}


def courses(study: Study, law: known.Law) -> list[tuple[known.History, float]]:
    """Every course with its probability under a truth and the declared randomization; continuous responses at their means."""
    found: list[tuple[known.History, float]] = [({}, 1.0)]
    for node in study.timeline:
        grown = []
        for h, p in found:
            if "(ended)" in h:
                grown.append((h, p))
            elif isinstance(node, Baseline):
                grown += [({**h, node.name: level}, p / len(node.levels)) for level in node.levels]
            elif isinstance(node, Decision):
                options = known.offered(node, h)
                shares = node.randomization(options)
                grown += [({**h, node.name: o}, p * shares[o]) for o in options] or [({**h, "(ended)": True}, p)]
            else:
                grown += [({**h, node.name: value}, p * float(q)) for value, q in law(node.name, h)]
        found = grown
    return found


def proven(study: Study, learned_seed: int, truth_seed: int, gated: bool = False) -> tuple[Learned, Record, np.ndarray, float, dict[str, np.ndarray]]:
    """A rule learned from arbitrary draws, every course under other draws, their probabilities, and the rule's true value."""
    learned = _learned(study, learned_seed, gated)
    law = known.cell_law(study, known.random_cells(study, truth_seed), True)
    every = courses(study, law)
    frame = known.frame_of([{k: v for k, v in h.items() if k != "(ended)"} for h, _ in every])
    record = Record.of(study, read(study, frame))
    p = np.array([q for _, q in every])

    def option(decision: Decision, history: known.History) -> str:
        some = next(i for i, (h, _) in enumerate(every) if all(h.get(k) == v for k, v in history.items()))
        stage = [d.name for d in study.decisions].index(decision.name)
        return decision.options[int(learned.qbar(stage, record.rows(decision.name, np.array([some]))).argmax())]

    value = 0.0
    for h, q in every:  # the courses that the rule itself takes, each with its probability given the rule
        options = [(d, {n.name: h[n.name] for n in study.before(d.name)}) for d in study.decisions if d.name in h]
        if all(h[d.name] == option(d, before) for d, before in options):
            chance = np.prod([d.randomization(known.offered(d, before))[h[d.name]] for d, before in options])
            value += q / chance * sum(known.weight(study, n) * h[n] for n, w in study.utility.weights if w and n in h)
    return learned, record, p, float(value), dict(record.trajectories.assignment)


def _learned(study: Study, seed: int, gated: bool = False) -> Learned:
    posterior = known.posterior_with(study, known.random_cells(study, seed), frame=None if study.baselines else _cohort(study))
    world = World.of(posterior).under(Safety.of(study, GATES, DEFAULTS) if gated else None)
    return Learned.of(world, baseline_rows(posterior), 1)


def _cohort(study: Study):
    """Patients of a study some of whose courses end early."""
    law = known.cell_law(study, known.random_cells(study, 99), True)
    rows = [{k: v for k, v in h.items() if k != "(ended)"} for h, _ in courses(study, law)]
    for i, row in enumerate(rows):
        if "u" in row:
            row["u"] = float(i)
    return known.frame_of(rows)


@pytest.mark.parametrize("name", STUDIES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(learned=st.integers(0, 10_000), truth=st.integers(10_001, 20_000))
def test_mean_score_is_the_rules_value_whatever_the_model_says(name, learned, truth):
    rule, record, p, value, received = proven(STUDIES[name](), learned, truth)
    found = scores(record, rule, np.arange(len(p)), received)
    assert (p * found.score).sum() == pytest.approx(value, abs=1e-10)
    assert (p * found.weight).sum() == pytest.approx(1.0, abs=1e-10)  # followers stand for everybody


@pytest.mark.parametrize("name", STUDIES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_mean_score_is_the_rules_value_whatever_the_probabilities_if_the_model_is_right(name, seed):
    rule, record, p, value, _ = proven(STUDIES[name](), seed, seed)
    rng = np.random.default_rng(seed)
    wrong = {}
    for decision in record.study.decisions:
        # A function of the history and the option, as any propensity is.
        known_before = [record.trajectories.columns[n.name] for n in record.study.before(decision.name)]
        keys = np.stack([*known_before, record.trajectories.columns[decision.name]], axis=1).astype(float)
        _, index = np.unique(keys, axis=0, return_inverse=True)
        wrong[decision.name] = rng.uniform(0.2, 1.0, index.max() + 1)[index.ravel()]
    found = scores(record, rule, np.arange(len(p)), wrong)
    assert (p * found.score).sum() == pytest.approx(value, abs=1e-10)
    assert abs((p * found.weight).sum() - 1) > 1e-3  # the probabilities were wrong indeed


# ---- rules that heed safety gates ---------------------------------------------------------------------


def shielded(rule: Learned, record: Record) -> tuple[int, int]:
    """Patients with a choice at the second decision for whom gates left one option, and for whom more."""
    rows = np.flatnonzero(record.trajectories.columns["r"] == 0)
    left = np.isfinite(rule.qbar(1, record.rows("b", rows))).sum(axis=1)
    return int((left == 1).sum()), int((left > 1).sum())


@pytest.mark.parametrize("make", [two_stages, rare_default])
@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(learned=st.integers(0, 10_000), truth=st.integers(10_001, 20_000))
def test_mean_score_of_a_gated_rule_is_its_value_whatever_the_model_says(make, learned, truth):
    rule, record, p, value, received = proven(make(), learned, truth, gated=True)
    found = scores(record, rule, np.arange(len(p)), received)
    assert (p * found.score).sum() == pytest.approx(value, abs=1e-9)
    assert (p * found.weight).sum() == pytest.approx(1.0, abs=1e-9)
    assert np.isfinite(found.score).all()


def test_the_gates_of_these_tests_do_act():
    rule, record, *_ = proven(rare_default(), 4, 11_000, gated=True)
    assert any(shielded(proven(rare_default(), seed, 11_000, gated=True)[0], record)[0] for seed in range(6))
    free, *_ = proven(rare_default(), 4, 11_000)
    everybody = np.flatnonzero(record.trajectories.columns["r"] == 0)
    open_, left = (np.isfinite(one.qbar(1, record.rows("b", everybody))).sum(axis=1) for one in (free, rule))
    assert (open_ == 3).all() and (left < 3).any() and (left > 0).all()


@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(seed=st.integers(0, 10_000))
def test_where_nobody_received_the_default_the_right_model_speaks_for_it(seed):
    """Weights there are 0; the score is the model's expectation, so that its mean is the rule's value if the model is right."""
    rule, record, p, value, received = proven(rare_default(), seed, seed, gated=True)
    chosen, r = record.trajectories.columns["b"], record.trajectories.columns["r"]
    asked = r == 0
    p = np.where(asked, np.where(chosen == 2, 0.0, p * 0.5 / 0.49), p)
    found = scores(record, rule, np.arange(len(p)), {**received, "b": np.where(asked, 0.5, received["b"])})
    assert p.sum() == pytest.approx(1) and (p * found.score).sum() == pytest.approx(value, abs=1e-9)
