"""Stopping and dropping rules on posteriors with known probabilities: statistics, orientation, declarations, and what is refused."""

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


def test_predictive_success_of_two_arms_by_enumeration():
    """All outcomes of the 2 x 5 patients to come, each with its beta-binomial probability."""
    study = dtr.Study(dtr.Decision("arm", ["A", "B"]), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
    a, b = np.array([[8.0, 12.0]]), np.array([[13.0, 9.0]])
    state = _state(Betas(a, b), study, known=38, remaining=10)
    wanted = 0.0
    for yes in itertools.product(range(6), repeat=2):
        weight = np.prod([stats.betabinom.pmf(y, 5, a[0, j], b[0, j]) for j, y in enumerate(yes)])
        end = Betas(a + yes, b + 5 - np.array(yes))
        wanted += weight * (end.p_best()[0].max() > 0.93)
    rule = SuccessProbability(0.1, success=0.93)
    assert 0.1 < wanted < 0.9
    assert 1 - rule.statistic(state) == pytest.approx([wanted], abs=3 * np.sqrt(wanted * (1 - wanted) / 256))
    over = _state(Betas(a, b), study, known=48, remaining=0)
    assert 1 - rule.statistic(over) == pytest.approx([float(Betas(a, b).p_best()[0].max() > 0.93)])


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
    (lambda: SafetyStop("z", above=0.3, probability=0.9).check(STUDY, 3), "no response 'z'"),
    (lambda: SafetyStop("y", above=0.3, probability=0.9).check(SMART, 3), "a rate is watched"),
])
def test_what_cannot_be_meant_is_refused(make, words):
    with pytest.raises(dtr.errors.TrialError, match=words):
        make()


def test_rules_are_said_in_words():
    assert Superiority(0.99).text() == "superiority: P(best) > 0.99"
    assert Superiority(0.99, against="A", margin=0.1).text() == "superiority: P(better by 0.1) against A > 0.99"
    assert Futility(0.05, margin=0.1).text() == "futility: P(better by 0.1) against reference < 0.05 for all"
    assert Equivalence(0.9, margin=0.05).text() == "equivalence: P(all within 0.05) > 0.9"
    assert DropWorst(0.02).text() == "drop arms with P(best) < 0.02"
