"""Stopping and dropping rules on posteriors with known probabilities: statistics, orientation, declarations, and what is refused."""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import bayesdtr as dtr
from bayesdtr.study.rules import embedded_regimes
from bayesdtr.trial.analysis import Betas, Drawn
from bayesdtr.trial.layout import Layout
from bayesdtr.trial.observed import Observed
from bayesdtr.trial.stopping import (
    DropUnsafe,
    DropWorst,
    Equivalence,
    Futility,
    Inferiority,
    LookState,
    SafetyStop,
    SuccessProbability,
    Superiority,
)
from bayesdtr.trial.stopping.predictive import to_come

STUDY = dtr.Study(
    dtr.Decision("arm", ["A", "B", "C"]), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y", reference={"arm": "A"})
SMART = dtr.Study(
    dtr.Decision("first", ["a", "b"]), dtr.Response("r", dtr.Bernoulli()),
    dtr.Decision("second", {dtr.when(r=0): ["c", "d"], dtr.when(r=1): ["go"]}), dtr.Response("y", dtr.Normal()), utility="y",
    reference={"first": "a", "second": {dtr.when(r=0): "d", dtr.when(r=1): "go"}})
COUNTS = np.array([[30.0, 41, 35]]), np.array([[30.0, 20, 27]])
"""The posteriors of a published three-arm example: P(best) .01796526, .8788907, .1031441; P(B > A + .1) .7951487, P(C > A + .1) .3477606."""


def _state(values, study=STUDY, *, look=0, closed=(), known=180, remaining=0, data=None, looks=3):
    layout = Layout.of(study, (), looks, 200)
    trials = values.shape[0]
    active = np.ones((trials, len(layout.arms)), dtype=bool)
    for arm in closed:
        active[:, layout.arms.index(arm)] = False
    regimes = ~(~active[:, None, :] & layout.uses).any(axis=2)
    full = lambda n: np.full(trials, n)  # noqa: E731
    return LookState(study, layout, look, values, active, regimes, SimpleNamespace(), data, full(known), full(known), full(remaining),
                     np.arange(trials))


PUBLISHED = _state(Betas(*COUNTS))


def test_statistics_are_the_published_probabilities():
    assert Superiority(0.9).statistic(PUBLISHED) == pytest.approx([0.8788907], abs=1e-6)
    assert Superiority(0.9, regime="C").statistic(PUBLISHED) == pytest.approx([0.1031441], abs=1e-6)
    assert Superiority(0.9, against="A", margin=0.1).statistic(PUBLISHED) == pytest.approx([0.7951487], abs=1e-6)
    assert Superiority(0.9, against="reference", regime="C", margin=0.1).statistic(PUBLISHED) == pytest.approx([0.3477606], abs=1e-6)
    assert Futility(0.1, margin=0.1).statistic(PUBLISHED) == pytest.approx([1 - 0.7951487], abs=1e-6)


@pytest.mark.parametrize(("rule", "fires"), [
    (Superiority(0.87), True), (Superiority(0.88), False),
    (Superiority(0.79, against="A", margin=0.1), True), (Superiority(0.80, against="A", margin=0.1), False),
    (Futility(0.80, margin=0.1), True), (Futility(0.79, margin=0.1), False),
    (Futility(0.35, margin=0.1, regime="C"), True), (Futility(0.34, margin=0.1, regime="C"), False),
])
def test_rules_fire_beyond_their_thresholds(rule, fires):
    assert (rule.statistic(PUBLISHED) > rule.level(0)) == [fires]


def test_superiority_declares_what_exceeds_the_threshold():
    assert Superiority(0.87).declared(PUBLISHED).tolist() == [[False, True, False]]
    assert Superiority(0.3, against="A", margin=0.1).declared(PUBLISHED).tolist() == [[False, True, True]]
    assert not Futility(0.9).declared(PUBLISHED).any()
    assert Superiority(0.5).declares
    assert not Equivalence(0.5, margin=0.1).declares


def test_closed_arms_are_out_of_the_contest():
    state = _state(Betas(*COUNTS), closed=[("arm", "B")])
    left = Betas(COUNTS[0][:, [0, 2]], COUNTS[1][:, [0, 2]]).p_best()[0][0, 1]
    assert Superiority(0.9).statistic(state) == pytest.approx([left], abs=1e-9)
    assert Superiority(0.9, against="A", margin=0.1).statistic(state) == pytest.approx([0.3477606], abs=1e-6)


def test_inferiority_and_equivalence_against_many_draws():
    rng = np.random.default_rng(1)
    draws = rng.beta(COUNTS[0], COUNTS[1], size=(400_000, 3))
    worse = (draws[:, [1, 2]] < draws[:, :1] - 0.02).mean(axis=0).min()
    assert Inferiority(0.9, against="A", margin=0.02).statistic(PUBLISHED) == pytest.approx([worse], abs=4 * np.sqrt(0.25 / 400_000))
    close = (np.ptp(draws, axis=1) < 0.15).mean()
    assert Equivalence(0.9, margin=0.15).statistic(PUBLISHED) == pytest.approx([close], abs=4 * np.sqrt(0.25 / 400_000))
    alone = _state(Betas(*COUNTS), closed=[("arm", "B"), ("arm", "C")])
    assert np.isnan(Equivalence(0.9, margin=0.15).statistic(alone)).all()


def test_thresholds_may_vary_and_rules_may_rest():
    rule = Superiority([0.99, 0.95, 0.9], looks=[2, 3])
    assert [rule.level(look) for look in range(3)] == [0.99, 0.95, 0.9]
    assert np.isnan(rule.statistic(_state(Betas(*COUNTS), look=0))).all()
    assert np.isfinite(rule.statistic(_state(Betas(*COUNTS), look=1))).all()
    assert rule.at(0.7).threshold == 0.7
    assert rule.at(0.7).looks == (2, 3)
    assert Futility(0.2, margin=0.1).at(0.7).level(0) == pytest.approx(0.7)
    assert SuccessProbability(0.2, success=0.9).at(0.7).level(0) == pytest.approx(0.7)


def _by_enumeration(a, b, extra, success, active=None):
    """All outcomes to come, each with its beta-binomial probability."""
    total = 0.0
    for yes in itertools.product(*(range(n + 1) for n in extra)):
        weight = np.prod([stats.betabinom.pmf(y, n, *ab) for y, n, ab in zip(yes, extra, zip(a, b, strict=True), strict=True)])
        end = Betas(a[None] + yes, b[None] + np.array(extra) - np.array(yes))
        total += weight * (end.p_best(active)[0].max() > success)
    return total


TWO = dtr.Study(dtr.Decision("arm", ["A", "B"]), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")


@pytest.mark.parametrize(("remaining", "extra"), [(10, (5, 5)), (11, (6, 5)), (60, (30, 30))])
def test_predictive_success_of_two_arms_by_enumeration(remaining, extra):
    a, b = np.array([8.0, 12.0]), np.array([13.0, 9.0])
    state = _state(Betas(a[None], b[None]), TWO, known=38, remaining=remaining)
    wanted = _by_enumeration(a, b, extra, 0.93)
    exact = np.prod(np.array(extra) + 1) <= 512
    assert 0.1 < wanted < 0.9
    rule = SuccessProbability(0.1, success=0.93)
    assert 1 - rule.statistic(state) == pytest.approx([wanted], abs=1e-10 if exact else 3 * np.sqrt(wanted * (1 - wanted) / 256))
    over = _state(Betas(a[None], b[None]), TWO, known=48, remaining=0)
    assert 1 - rule.statistic(over) == pytest.approx([float(Betas(a[None], b[None]).p_best()[0].max() > 0.93)])


def _waiting(arms, lost=()):
    """One trial of 20: each arm has four outcomes, and these patients wait for theirs; some of them will never have any."""
    arm = np.array([0] * 4 + [1] * 4 + list(arms) + [-1] * (12 - len(arms)))
    y = np.array([1.0, 0, 1, 0] * 2 + [np.nan] * 12)
    data = Observed({"arm": arm[None], "y": y[None]}, None, np.zeros((1, 20), dtype=int), (arm >= 0)[None])
    recruited = 8 + len(arms)
    known = 8 + len(lost)
    state = _state(Betas(np.array([[3.0, 5.0]]), np.array([[5.0, 3.0]])), TWO, known=known, remaining=20 - known, data=data)
    return dataclasses.replace(state, recruited=np.array([recruited]))


def test_patients_whose_outcome_is_awaited_count_under_their_own_arms():
    state = _waiting([1, 1, 1, 0, 1, 1])
    assert to_come(state).tolist() == [[1 + 3, 5 + 3]]
    wanted = _by_enumeration(state.values.a[0], state.values.b[0], (4, 8), 0.9)
    assert 1 - SuccessProbability(0.1, success=0.9).statistic(state) == pytest.approx([wanted], abs=1e-10)
    assert abs(wanted - _by_enumeration(state.values.a[0], state.values.b[0], (6, 6), 0.9)) > 1e-3
    # Two of six are lost, nobody knows which: four outcomes, one for A and three for B by largest remainders (2/3, 10/3).
    assert to_come(_waiting([1, 1, 1, 0, 1, 1], lost=[0, 1])).tolist() == [[1 + 3, 3 + 3]]
    # All future patients go to what is open, the waiting ones stay where they are.
    closed = dataclasses.replace(state, active=np.array([[True, False]]), regimes=np.array([[True, False]]))
    assert to_come(closed).tolist() == [[1 + 6, 5]]


def test_predictive_success_is_that_of_each_trial_alone():
    """Some enumerated and some by quasi-random points, in one batch and one by one: the same to the last bit, and close to each other."""
    rng = np.random.default_rng(8)
    a, b = rng.integers(5, 30, (12, 3)).astype(float), rng.integers(5, 30, (12, 3)).astype(float)
    remaining = np.array([9, 15, 21, 40, 9, 80, 0, 3, 21, 15, 40, 9])
    rule = SuccessProbability(0.1, success=0.9)
    full = dataclasses.replace(_state(Betas(a, b)), remaining=remaining)
    together = rule.statistic(full)
    for i in range(12):
        alone = dataclasses.replace(_state(Betas(a[i : i + 1], b[i : i + 1])), remaining=remaining[i : i + 1])
        assert rule.statistic(alone)[0] == together[i]
    assert 1 - together[1] == pytest.approx(_by_enumeration(a[1], b[1], (5, 5, 5), 0.9), abs=1e-10)
    assert 1 - together[2] == pytest.approx(_by_enumeration(a[2], b[2], (7, 7, 7), 0.9), abs=1e-10)
    p = 1 - together[3]
    assert p == pytest.approx(_by_enumeration(a[3], b[3], (14, 13, 13), 0.9), abs=3 * np.sqrt(max(p * (1 - p), 0.02) / 256))


def test_predictive_success_elsewhere_is_that_of_a_growing_sample():
    """Flat prior, known SD: after `known` of `all`, the final mean given the present one is Normal with the variance still to come."""
    rng = np.random.default_rng(2)
    n, total, effect = 60, 100, 0.25
    draws = effect + rng.standard_normal(200_000) / np.sqrt(n)
    state = _state(Drawn(np.stack([np.zeros_like(draws), draws], axis=1)[None]), dtr.Study(
        dtr.Decision("arm", ["A", "B"]), dtr.Response("y", dtr.Normal()), utility="y"), known=n, remaining=total - n)
    final = effect * n / total + (1 - n / total) * (draws + rng.standard_normal(len(draws)) / np.sqrt(total - n))
    wanted = (stats.norm.sf(-final * np.sqrt(total)) > 0.975).mean()
    rule = SuccessProbability(0.1, success=0.975, against="A")
    assert 1 - rule.statistic(state) == pytest.approx([wanted], abs=0.01)


def test_the_worst_are_dropped_until_none_is_below():
    values = Betas(np.array([[10.0, 30, 31], [30, 41, 35]]), np.array([[50.0, 30, 29], [30, 20, 27]]))
    state = _state(values)
    p = values.p_best()[0]
    assert (p[0] < 0.02).tolist() == [True, False, False]
    assert DropWorst(0.02).dropped(state).tolist() == [[True, False, False], [True, False, False]]
    assert DropWorst(0.02, keep="A").dropped(state).sum() == 0
    # With A gone the second trial's C has 1 - P(B > C), still above .1; at .11 it goes too, and B alone is left.
    pair = Betas(values.a[1:, 1:], values.b[1:, 1:]).p_best()[0][0]
    assert 0.1 < pair[1] < 0.2
    assert DropWorst(0.2).dropped(state)[1].tolist() == [True, False, True]
    assert DropWorst(0.2, iterate=False).dropped(state)[1].tolist() == [True, False, True]
    alone = _state(values, closed=[("arm", "A"), ("arm", "B")])
    assert not DropWorst(0.3).dropped(alone).any()


def _observed(arm, y):
    shape = np.shape(arm)
    return Observed({"arm": np.asarray(arm), "y": np.asarray(y, dtype=float)}, None, np.zeros(shape, dtype=int), np.ones(shape, dtype=bool))


def test_harm_is_watched_by_arm_apart_from_values():
    arm = np.repeat([[0, 1, 2]], 20, axis=1)
    y = np.array([[1] * 12 + [0] * 8 + [1] * 11 + [0] * 9 + [1] * 2 + [0] * 17 + [np.nan]])
    state = _state(Betas(*COUNTS), data=_observed(arm, y))
    wanted = [stats.beta.sf(0.3, 13, 9), stats.beta.sf(0.3, 12, 10), stats.beta.sf(0.3, 3, 18)]
    rule = SafetyStop("y", above=0.3, probability=0.9)
    assert rule.statistic(state) == pytest.approx([min(wanted)])
    assert rule.statistic(_state(Betas(*COUNTS), closed=[("arm", "C")], data=_observed(arm, y))) == pytest.approx([min(wanted[:2])])
    assert DropUnsafe("y", above=0.3, probability=0.9).dropped(state).tolist() == [[True, True, False]]
    both = _state(Betas(*COUNTS), closed=[("arm", "C")], data=_observed(arm, y))
    assert wanted[0] > wanted[1]  # of two that are both too harmful the less harmful stays, for there must be one
    assert DropUnsafe("y", above=0.3, probability=0.9).dropped(both).tolist() == [[True, False, False]]


def test_embedded_regimes_are_named_by_label_parts_or_reference():
    labels = [r.label for r in embedded_regimes(SMART)]
    draws = np.random.default_rng(4).normal(size=(1, 4000, 4)) + np.array([0.0, 0.5, 0.2, 0.6])
    state = _state(Drawn(draws), SMART)
    p = state.values.p_best()[0][0]
    for j, label in enumerate(labels):
        assert Superiority(0.9, regime=label).statistic(state) == pytest.approx([p[j]])
    starts = np.array([label.startswith("b") for label in labels])
    assert Superiority(0.9, regime={"first": "b"}).statistic(state) == pytest.approx([p[starts].sum()])
    group = Superiority(0.1, regime={"first": "b"}).declared(state)[0]
    assert group.sum() == 1
    assert group.argmax() == np.where(starts, state.values.mean()[0], -9).argmax()
    usual = labels.index(next(x for x in labels if x.startswith("a") and "d" in x.split(";")[1].split(" ")[1]))
    beat = (draws[0] > draws[0][:, [usual]]).mean(axis=0)
    beat[usual] = 0
    assert Superiority(0.9, against="reference").statistic(state) == pytest.approx([beat.max()])


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Superiority(1.2), "between 0 and 1"),
    (lambda: Superiority("high"), "a probability"),
    (lambda: Superiority(0.9, looks=0), "counted from 1"),
    (lambda: Superiority(0.9, against=3), "label of an embedded regime"),
    (lambda: Equivalence(0.9, margin=0), "above 0"),
    (lambda: DropWorst(0.02, iterate="no"), "True or False"),
    (lambda: SafetyStop("y", above=2, probability=0.9), "between 0 and 1"),
    (lambda: SafetyStop("y", above=0.3, probability=0.9, prior=(0, 1)), "above 0"),
    (lambda: Superiority([0.9, 0.8]).check(STUDY, 3), "2 thresholds for 3 looks"),
    (lambda: Superiority(0.9, looks=[4]).check(STUDY, 3), "look 4"),
    (lambda: Superiority(0.9, regime="D").check(STUDY, 3), "regimes: 'A', 'B', 'C'"),
    (lambda: Superiority(0.9, against="b").check(STUDY, 3), "did you mean 'B'"),
    (lambda: Superiority(0.9, margin=0.1).check(STUDY, 3), "against"),
    (lambda: Superiority(0.9, against={"first": "a"}).check(SMART, 3), "2 regimes"),
    (lambda: Superiority(0.9, regime={"frist": "a"}).check(SMART, 3), "did you mean 'first'"),
    (lambda: Superiority(0.9, regime={"first": "z"}).check(SMART, 3), "option 'z'"),
    (lambda: Inferiority(0.9).check(STUDY, 3), "needs against"),
    (lambda: DropWorst(0.02, at="leg").check(STUDY, 3), "decisions: 'arm'"),
    (lambda: DropWorst(0.02, keep="Z").check(STUDY, 3), "options"),
    (lambda: DropWorst(0.4).check(STUDY, 3), "1/3"),
    (lambda: DropWorst(0.1, looks=[9]).check(STUDY, 3), "look 9"),
    (lambda: DropWorst(0.1, keep=1), "name of an option"),
    (lambda: SuccessProbability(0.1, success=0.9, margin=0.1), "against"),
    (lambda: SafetyStop("y", above=0.3, probability=0.9, binding="no"), "True or False"),
    (lambda: SafetyStop("z", above=0.3, probability=0.9).check(STUDY, 3), "no response 'z'"),
    (lambda: SafetyStop("y", above=0.3, probability=0.9).check(SMART, 3), "a rate is watched"),
])
def test_what_cannot_be_meant_is_refused(make, words):
    with pytest.raises(dtr.errors.TrialError, match=words):
        make()


RULES = [
    Superiority(0.9, regime={"first": "b"}), Superiority([0.99, 0.95], against="A", margin=0.1), Inferiority(0.9, against={"first": "a"}),
    Futility(0.9, margin=0.1, looks=[2]), Equivalence(0.9, margin=0.1), SuccessProbability(0.9, success=0.95, against="A", margin=0.05),
    SafetyStop("y", above=0.3, probability=0.9, prior=(1, 3)),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
def test_another_threshold_or_no_force_changes_nothing_else(rule):
    """Calibration moves the threshold on the statistic's scale and opens the rule; whatever else was declared stays."""
    moved = rule.at(0.7)
    assert moved.level(0) == pytest.approx(0.7)
    assert moved.at((0.7, 0.6)).level(1) == pytest.approx(0.6)
    others = [f.name for f in dataclasses.fields(rule) if f.name != "threshold"]
    assert [getattr(moved, n) for n in others] == [getattr(rule, n) for n in others]
    opened = rule.changed(binding=False)
    assert not opened.binding
    assert opened.text().endswith("not binding")
    assert opened.changed(binding=True) == rule
    with pytest.raises(TypeError, match="thresholds"):
        rule.changed(thresholds=0.5)


def test_rules_that_differ_in_anything_are_different():
    assert SuccessProbability(0.1, success=0.9) != SuccessProbability(0.1, success=0.95)
    assert "success" in [f.name for f in dataclasses.fields(SuccessProbability)]
    assert Superiority(0.9) != Futility(0.9)


def test_rules_are_said_in_words():
    assert Superiority(0.99, looks=[2, 3], binding=False).text() == "superiority: P(best) > 0.99, at looks 2, 3, not binding"
    ppos = SuccessProbability(0.1, success=0.95, against="A", margin=0.05)
    assert ppos.text() == "predictive probability of success (0.95 against A by 0.05) < 0.1"
    assert Superiority(0.99).text() == "superiority: P(best) > 0.99"
    assert Superiority(0.99, against="A", margin=0.1).text() == "superiority: P(better by 0.1) against A > 0.99"
    assert Futility(0.05, margin=0.1).text() == "futility: P(better by 0.1) against reference < 0.05 for all"
    assert Equivalence(0.9, margin=0.05).text() == "equivalence: P(all within 0.05) > 0.9"
    assert DropWorst(0.02).text() == "drop arms with P(best) < 0.02"
