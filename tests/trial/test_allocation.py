"""Allocation rules: exact values, floors that hold, blocks that balance, declarations that refuse nonsense."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln

from bayesdtr.errors import TrialError
from bayesdtr.study import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, when
from bayesdtr.study.rules import embedded_regimes
from bayesdtr.trial.allocation import (
    Blocks,
    Equal,
    Fixed,
    NullStabilized,
    PermutedBlock,
    Situation,
    SmartAR,
    Stratified,
    Thompson,
    TopTwo,
    sequences,
    shares,
)
from bayesdtr.trial.allocation import blocks as block_lists
from bayesdtr.trial.allocation.pieced import Pieced
from bayesdtr.trial.analysis import Drawn
from bayesdtr.trial.observed import Observed

ARMS = Study(Decision("arm", ["a", "b", "c"]), Response("y", Bernoulli(), model=Saturated()), utility="y")
TWO = Study(Decision("arm", ["a", "b"]), Response("y", Bernoulli(), model=Saturated()), utility="y")
SMART = Study(Decision("first", ["a", "b"]), Response("r", Bernoulli(), model=Saturated()),
              Decision("second", {when(r=0): ["stay", "switch", "add"], when(r=1): ["stay"]}),
              Response("y", Normal(), model=Saturated()), utility="y")
UNRESTRICTED = Study(Decision("first", ["a", "b"]), Response("r", Bernoulli(), model=Saturated()),
                     Decision("second", ["c", "d"]), Response("y", Normal(), model=Saturated()), utility="y")


THREE = np.ones((1, 3), dtype=bool)


def one_hot(p: np.ndarray) -> Drawn:
    """Draws in which each entry is best as often as given, in 60ths; infeasible entries have probability nan."""
    draws = []
    for row in np.atleast_2d(p):
        counts = np.round(np.nan_to_num(row) * 60).astype(int)
        assert counts.sum() == 60
        draws.append(np.where(np.isnan(row), -np.inf, np.eye(len(row))[np.repeat(np.arange(len(row)), counts)]))
    return Drawn(np.stack(draws))


@dataclass(frozen=True, eq=False)
class Told:
    """A posterior that has been told its probabilities of being best."""

    p: np.ndarray
    whole: np.ndarray | None = None

    def regimes(self):
        return one_hot(self.whole)

    def options(self, decision, trial, columns, feasible):
        return one_hot(np.where(feasible, self.p[trial], np.nan))

    def marginal(self, decision, feasible):
        return one_hot(np.where(feasible, self.p[:, ::-1], np.nan))


def situation(study, p, *, feasible=None, decision=0, columns=None, recruited=40, size=100, **more):
    p = np.atleast_2d(np.asarray(p, dtype=float))
    trials = np.arange(len(p))
    empty = Observed({}, None, np.zeros((len(p), 0), dtype=int), np.zeros((len(p), 0), dtype=bool))
    feasible = np.ones(p.shape, dtype=bool) if feasible is None else np.atleast_2d(feasible)
    whole = more.pop("whole", None)
    return Situation(study, decision, trials, columns or {}, feasible, Told(p, whole), empty, np.full(len(p), recruited), size,
                     np.zeros(p.shape, dtype=int), **more)


def assigned(rule, p, study=ARMS, **more):
    rule.check(study, study.decisions[more.get("decision", 0)].name)
    return rule.probabilities(situation(study, p, **more))


# ---- exact values ---------------------------------------------------------------------------------


def test_thompson_is_the_probability_of_being_best():
    np.testing.assert_allclose(assigned(Thompson(), [[0.5, 0.3, 0.2], [0, 0.25, 0.75]]), [[0.5, 0.3, 0.2], [0, 0.25, 0.75]], atol=1e-15)


@pytest.mark.parametrize("power, exponent", [(0.5, 0.5), ("n/2N", 0.2), ("n / 2N", 0.2), (lambda n, N: n / N, 0.4), (0, 0), (2.0, 2)])
def test_powers(power, exponent):
    p = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(assigned(Thompson(power), p)[0], p**exponent / (p**exponent).sum(), rtol=1e-14)


def test_an_affine_floor_is_exact():
    np.testing.assert_allclose(assigned(Thompson(floor=0.1), [0.5, 0.3, 0.2])[0], [0.1 + 0.7 * 0.5, 0.1 + 0.7 * 0.3, 0.1 + 0.7 * 0.2], rtol=1e-15)
    np.testing.assert_allclose(assigned(Thompson(floor=0.1), [1, 0, 0])[0], [0.8, 0.1, 0.1], rtol=1e-15)
    # A dropped option counts no longer: K is 2.
    got = assigned(Thompson(floor=0.2), [0.75, 0, 0.25], feasible=[True, False, True])
    np.testing.assert_allclose(got[0], [0.2 + 0.6 * 0.75, 0, 0.35], rtol=1e-15)


def test_plain_clipping_of_two():
    got = assigned(Thompson(floor=0.1, floor_rule="clip"), [[0.95, 0.05], [0.3, 0.7], [0, 1]], study=TWO)
    np.testing.assert_allclose(got, [[0.9, 0.1], [0.3, 0.7], [0.1, 0.9]], rtol=1e-12)


def test_the_iterative_floor_by_hand():
    rule = Thompson(floor=0.2, floor_rule="iterative")
    # c is below .20 and set to it; .80 is shared 45 : 3, which gives b .05: set to .20 too; a has the rest.
    np.testing.assert_allclose(assigned(rule, [0.75, 0.05, 0.2])[0], [0.6, 0.2, 0.2], rtol=1e-12)
    # Only c is below; .80 is shared 3 : 2.
    np.testing.assert_allclose(shares.iterative_floor(np.array([[0.57, 0.38, 0.05]]), 0.2, THREE)[0], [0.48, 0.32, 0.2], rtol=1e-12)
    # Above the floor at first, below it once another took its share: .21 becomes .21 / .97 * .8 = .173.
    np.testing.assert_allclose(shares.iterative_floor(np.array([[0.76, 0.21, 0.03]]), 0.2, THREE)[0], [0.6, 0.2, 0.2], rtol=1e-12)
    np.testing.assert_allclose(assigned(rule, [0.9, 0.1, 0], feasible=[True, True, False])[0], [0.8, 0.2, 0], rtol=1e-12)


def test_a_ceiling_is_poured_over_the_others():
    np.testing.assert_allclose(assigned(Thompson(ceiling=0.6), [0.8, 0.15, 0.05])[0], [0.6, 0.3, 0.1], rtol=1e-12)
    np.testing.assert_allclose(assigned(Thompson(ceiling=0.4), [0.8, 0.15, 0.05])[0], [0.4, 0.4, 0.2], rtol=1e-12)
    np.testing.assert_allclose(assigned(Thompson(ceiling=0.6), [1, 0, 0])[0], [0.6, 0.2, 0.2], rtol=1e-12)
    # Floor .1, then .1 + .7 p = .66, .205, .135; .06 beyond the ceiling goes to the others, 105 : 35 above the floor.
    got = assigned(Thompson(floor=0.1, ceiling=0.6), [0.8, 0.15, 0.05])
    np.testing.assert_allclose(got[0], [0.6, 0.1 + 0.2 * 0.75, 0.1 + 0.2 * 0.25], rtol=1e-12)
    np.testing.assert_allclose(assigned(Thompson(ceiling=0.4), [0.9, 0.1, 0], feasible=[True, True, False])[0], [0.5, 0.5, 0], rtol=1e-12)


def test_a_protected_control():
    p = [0.5, 0.3, 0.2]  # among b and c alone, with ties of what remains shared: each 60th that said "a" counts half for either
    among = np.array([0.3 + 0.25, 0.2 + 0.25])
    own = 1 / (1 + np.sqrt(2))
    np.testing.assert_allclose(assigned(Thompson(control="a", protect="sqrt-K"), p)[0], [own, *((1 - own) * among)], rtol=1e-12)
    np.testing.assert_allclose(own / ((1 - own) / 2), np.sqrt(2), rtol=1e-12)
    got = assigned(Thompson(control="a", protect="matched"), p)[0]
    np.testing.assert_allclose(got, np.array([0.55, 0.55, 0.45]) / 1.55, rtol=1e-12)
    got = assigned(Thompson(control="a", protect="matched", floor=0.1), [0, 1, 0])[0]
    np.testing.assert_allclose(got, [0.45, 0.45, 0.1], rtol=1e-12)
    got = assigned(Thompson(control="a", protect="sqrt-K", floor=0.1), [0, 1, 0])[0]
    np.testing.assert_allclose(got, [own, 1 - own - 0.1, 0.1], rtol=1e-12)
    # Without the control the others go on; the control alone has it all.
    for protect in ("sqrt-K", "matched"):
        rule = Thompson(control="a", protect=protect, floor=0.1)
        np.testing.assert_allclose(assigned(rule, [0, 1, 0], feasible=[False, True, True])[0], [0, 0.9, 0.1], rtol=1e-12)
        np.testing.assert_allclose(assigned(rule, [1, 0, 0], feasible=[True, False, False])[0], [1, 0, 0], rtol=1e-12)
        np.testing.assert_allclose(assigned(rule, [0.5, 0.5, 0], feasible=[True, True, False])[0], [0.5, 0.5, 0], rtol=1e-12)


def test_marginal_values_are_asked_by_declared_set():
    columns = {"first": np.zeros(3, dtype=int), "r": np.array([0, 1, 0])}
    p = np.array([[0.5, 0.3, 0.2], [1, 0, 0], [0.25, 0.25, 0.5]])
    feasible = np.array([[True, True, True], [True, False, False], [True, True, True]])
    p[1] = [1, 0, 0]
    turned = Told(p)
    here = situation(SMART, p, decision=1, columns=columns, feasible=feasible)

    class Marginal:
        def marginal(self, decision, options):
            alone = one_hot(np.where(options, [1, 0, 0], np.nan)).take(np.zeros(3, dtype=int))
            return alone if options.sum() == 1 else turned.marginal(decision, options)

    got = Thompson(contextual=False).probabilities(Situation(**{**vars(here), "posterior": Marginal()}))
    np.testing.assert_allclose(got, [[0.2, 0.3, 0.5], [1, 0, 0], [0.5, 0.25, 0.25]], atol=1e-12)
    # An option dropped since is left out of the contest, and the average is still over everybody with the declared set.
    fewer = feasible & np.array([True, True, False])
    got = Thompson(contextual=False).probabilities(Situation(**{**vars(here), "posterior": Marginal(), "feasible": fewer}))
    np.testing.assert_allclose(got, [[0.45, 0.55, 0], [1, 0, 0], [0.625, 0.375, 0]], atol=1e-12)


def test_pieces_behave_as_one_batch():
    rng = np.random.default_rng(3)
    draws = rng.normal(size=(5, 64, 3))
    whole = Drawn(draws)
    rows = np.array([4, 0]), np.array([1, 2, 3])
    made = Pieced(tuple((r, whole.take(r)) for r in rows), 3)
    index = np.array([3, 3, 0, 4, 1])
    active = rng.random((5, 3)) < 0.8
    active[:, 0] = True
    for mine, plain in ((made, whole), (made.take(index), whole.take(index))):
        assert mine.shape == plain.shape
        np.testing.assert_array_equal(mine.mean(), plain.mean())
        np.testing.assert_array_equal(mine.sd(), plain.sd())
        np.testing.assert_array_equal(mine.quantile(0.1), plain.quantile(0.1))
        for a, b in zip(mine.p_best(active), plain.p_best(active), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(mine.exceeds(np.array([0, 1, 2, 0, 1]), 0.1), plain.exceeds(np.array([0, 1, 2, 0, 1]), 0.1))
        np.testing.assert_array_equal(mine.within(0.5), plain.within(0.5))


def test_fixed():
    np.testing.assert_allclose(assigned(Fixed({"a": 0.5, "b": 0.3, "c": 0.2}), [1, 0, 0])[0], [0.5, 0.3, 0.2])
    np.testing.assert_allclose(assigned(Fixed({"a": 0.5, "b": 0.3, "c": 0.2}), [1, 0, 0], feasible=[True, False, True])[0], [5 / 7, 0, 2 / 7])
    rule = Fixed({"stay": 0.2, "switch": 0.5, "add": 0.3})
    columns = {"first": np.array([0, 0]), "r": np.array([0, 1])}
    got = assigned(rule, [[0, 1, 0], [1, 0, 0]], study=SMART, decision=1, columns=columns, feasible=[[True, True, True], [True, False, False]])
    np.testing.assert_allclose(got, [[0.2, 0.5, 0.3], [1, 0, 0]])


# ---- whole regimes --------------------------------------------------------------------------------


def test_whole_regimes_by_enumeration():
    """Stage by stage, the conditional probabilities give every path what drawing a regime at baseline gives it."""
    regimes = embedded_regimes(UNRESTRICTED)
    weights = np.arange(1, len(regimes) + 1, dtype=float)
    weights /= weights.sum()
    first = sequences.conditional_on_history(weights[None], UNRESTRICTED, 0, regimes, {}, np.ones((1, 2), dtype=bool))[0]
    for a1 in range(2):
        for r in range(2):
            columns = {"first": np.array([a1]), "r": np.array([r])}
            second = sequences.conditional_on_history(weights[None], UNRESTRICTED, 1, regimes, columns, np.ones((1, 2), dtype=bool))[0]
            for a2 in range(2):
                direct = sum(w for w, g in zip(weights, regimes, strict=True) if dict(g.decisions)["first"][0][1] == "ab"[a1]
                             and g.option(UNRESTRICTED, "second", columns)[0] == a2)
                assert first[a1] * second[a2] == pytest.approx(direct, abs=1e-15)


def test_the_levels_of_thompson():
    regimes = embedded_regimes(UNRESTRICTED)
    whole = np.array([[10, 2, 0, 3, 15, 12, 18, 0]]) / 60
    start = [sum(w for w, g in zip(whole[0], regimes, strict=True) if dict(g.decisions)["first"][0][1] == o) for o in "ab"]
    here = situation(UNRESTRICTED, [0.5, 0.5], whole=whole)
    np.testing.assert_allclose(Thompson(level="hierarchical").probabilities(here)[0], start, rtol=1e-12)
    np.testing.assert_allclose(Thompson(level="sequence").probabilities(here)[0], start, rtol=1e-12)
    np.testing.assert_allclose(Thompson(level="hierarchical", floor=0.3).probabilities(here)[0], 0.3 + 0.4 * np.array(start), rtol=1e-12)
    # Floors of regimes: each has .05 and the rest by P(best).
    rule = Thompson(level="sequence", floor=0.05)
    drawn = rule.regime_probabilities(here)
    np.testing.assert_allclose(drawn, 0.05 + 0.6 * whole, rtol=1e-12)
    columns = {"first": np.array([1]), "r": np.array([0])}
    later = situation(UNRESTRICTED, [0.5, 0.5], decision=1, columns=columns, weights=drawn)
    names = np.array([g.option(UNRESTRICTED, "second", columns)[0] for g in regimes])
    mine = np.array([dict(g.decisions)["first"][0][1] == "b" for g in regimes])
    wanted = [drawn[0, mine & (names == a)].sum() / drawn[0, mine].sum() for a in range(2)]
    np.testing.assert_allclose(rule.probabilities(later)[0], wanted, rtol=1e-12)
    with pytest.raises(TrialError, match="weights is missing"):
        rule.probabilities(situation(UNRESTRICTED, [0.5, 0.5], decision=1, columns=columns))
    # Regimes that are closed compete no more.
    open_ = np.ones((1, 8), dtype=bool)
    open_[0, 6] = False
    p = Thompson(level="sequence").regime_probabilities(situation(UNRESTRICTED, [0.5, 0.5], whole=whole, regimes=open_))[0]
    assert p[6] == 0 and p.sum() == pytest.approx(1)
    np.testing.assert_allclose(p[:4], whole[0, :4] + 18 / 60 / 7, rtol=1e-12)


# ---- permuted blocks ------------------------------------------------------------------------------


def test_blocks_balance_exactly_and_every_order_comes():
    codes = block_lists.sequence(7, np.arange(600), "test", (0, 0, 1, 1), 2, 10)
    assert codes.shape == (600, 2, 10)
    full = codes[:, :, :8].reshape(600, 2, 2, 4)
    assert ((full == 0).sum(axis=-1) == 2).all() and ((full == 1).sum(axis=-1) == 2).all()
    orders, counts = np.unique(full.reshape(-1, 4), axis=0, return_counts=True)
    assert len(orders) == 6
    expected = 2400 / 6
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected * 5 / 6)).all()
    assert (np.abs((codes[:, :, 8:] == 0).mean() - 0.5)) < 4 * 0.5 / np.sqrt(2400)


def test_lists_depend_on_the_replicate_alone_and_grow():
    whole = block_lists.sequence(7, np.arange(150), "test", (0, 1, 2), 3, 20)
    some = np.array([149, 3, 77])
    np.testing.assert_array_equal(block_lists.sequence(7, some, "test", (0, 1, 2), 3, 20), whole[some])
    np.testing.assert_array_equal(block_lists.sequence(7, some, "test", (0, 1, 2), 3, 7), whole[some][:, :, :7])
    assert (block_lists.sequence(7, some, "other", (0, 1, 2), 3, 20) != whole[some]).any()
    assert (block_lists.sequence(8, some, "test", (0, 1, 2), 3, 20) != whole[some]).any()


def test_probability_given_the_block_so_far():
    codes = np.array([0, 0, 1, 1, 1, 0, 0])
    np.testing.assert_allclose(block_lists.conditional(codes, (0, 0, 1, 1)), [2 / 4, 1 / 3, 1, 1, 2 / 4, 2 / 3, 1 / 2])


def test_lists_move_on_patient_by_patient_however_they_are_asked():
    study = Study(Baseline("sex", levels=["f", "m"]), Decision("arm", ["a", "b", "c"]), Response("y", Bernoulli()), utility="y")
    rule = Stratified(by=["sex"], size=6)
    rule.check(study, "arm")
    rng = np.random.default_rng(1)
    trial = rng.integers(3, size=90)
    columns = {"sex": rng.integers(2, size=90)}
    feasible = np.ones((90, 3), dtype=bool)
    replicates = np.array([5, 9, 200])
    codes, probability, given_ = rule.blocks(study, "arm").lists(3, replicates, "arms", 90).assign(trial, columns, feasible)
    np.testing.assert_allclose(probability, 1 / 3)
    for t in range(3):
        for s in range(2):
            mine = codes[(trial == t) & (columns["sex"] == s)]
            full = mine[: len(mine) // 6 * 6].reshape(-1, 6)
            assert all((np.bincount(b, minlength=3) == 2).all() for b in full)
            np.testing.assert_allclose(given_[(trial == t) & (columns["sex"] == s)], block_lists.conditional(mine, (0, 1, 2) * 2))
    # In pieces, and one trial by itself.
    lists = rule.blocks(study, "arm").lists(3, replicates, "arms", 90)
    pieces = [lists.assign(trial[i], {"sex": columns["sex"][i]}, feasible[i])[0] for i in np.array_split(np.arange(90), 7)]
    np.testing.assert_array_equal(np.concatenate(pieces), codes)
    alone = rule.blocks(study, "arm").lists(3, replicates[2:], "arms", 90)
    mine = trial == 2
    np.testing.assert_array_equal(alone.assign(np.zeros(mine.sum(), dtype=int), {"sex": columns["sex"][mine]}, feasible[mine])[0], codes[mine])


def test_burn_in_blocks_have_feasible_sets_as_strata():
    blocks = Blocks.equal(SMART, "second")
    assert blocks.contents(np.array([True, True, True])) == (0, 1, 2, 0, 1, 2)
    assert blocks.contents(np.array([True, False, False])) == (0, 0)
    feasible = np.array([[True, True, True], [True, False, False]])[np.tile([0, 1], 12)]
    codes, probability, _ = blocks.lists(1, np.array([4]), "burn-in", 24).assign(np.zeros(24, dtype=int), {}, feasible)
    assert (codes[1::2] == 0).all() and (probability[1::2] == 1).all()
    assert (np.bincount(codes[::2]) == 4).all() and np.allclose(probability[::2], 1 / 3)
    none = blocks.lists(1, np.array([4]), "burn-in", 24).assign(np.zeros(1, dtype=int), {}, np.zeros((1, 3), dtype=bool))
    assert none[0][0] == -1 and np.isnan(none[1][0])


def test_ratios_and_dropped_options():
    rule = PermutedBlock(size=8, ratios={"a": 2, "b": 1, "c": 1})
    rule.check(ARMS, "arm")
    blocks = rule.blocks(ARMS, "arm")
    assert sorted(blocks.contents(np.ones(3, dtype=bool))) == [0, 0, 0, 0, 1, 1, 2, 2]
    assert sorted(blocks.contents(np.array([True, True, False]))) == [0, 0, 0, 0, 1, 1]
    np.testing.assert_allclose(rule.probabilities(situation(ARMS, [1, 0, 0], feasible=[True, True, False]))[0], [2 / 3, 1 / 3, 0])
    assert rule.realized == "blocks" and Equal().realized == "draws" and Thompson().realized == "draws"


# ---- properties -----------------------------------------------------------------------------------


@st.composite
def cases(draw):
    k = draw(st.integers(2, 5))
    raw = np.array(draw(st.lists(st.integers(0, 12), min_size=k, max_size=k)), dtype=float)
    feasible = np.array(draw(st.lists(st.booleans(), min_size=k, max_size=k)))
    feasible[draw(st.integers(0, k - 1))] = True
    p = shares.normalized(raw[None], feasible[None])
    count = int(feasible.sum())
    floor = draw(st.floats(0, 1)) / count
    ceiling = 1 / count + draw(st.floats(0, 1)) * (1 - 1 / count)
    return p, feasible[None], floor, ceiling, draw(st.floats(0, 3)), np.array(draw(st.permutations(range(k))))


@settings(max_examples=300, deadline=None)
@given(cases())
def test_bounds_hold_exactly_and_relabelling_relabels(case):
    p, feasible, floor, ceiling, power, order = case
    share = shares.tempered(p, power, feasible)
    made = {"affine": shares.floored(share, floor, "affine", feasible), "iterative": shares.floored(share, floor, "iterative", feasible)}
    if feasible.sum() == 2:
        made["clip"] = shares.floored(share, floor, "clip", feasible)
    here = np.flatnonzero(feasible[0])
    for rule, got in made.items():
        assert got.sum() == pytest.approx(1, abs=1e-12)
        assert (got[~feasible] == 0).all() and (got[feasible] >= floor - 1e-12).all()
        turned = shares.floored(shares.tempered(p[:, order], power, feasible[:, order]), floor, rule, feasible[:, order])
        np.testing.assert_allclose(turned, got[:, order], atol=1e-12)
        topped = shares.capped(got, ceiling, floor, feasible)
        assert topped.sum() == pytest.approx(1, abs=1e-12)
        assert (topped[~feasible] == 0).all() and (topped[feasible] >= floor - 1e-9).all() and (topped <= ceiling + 1e-9).all()
        # The order of the options is kept, and options within both bounds keep their proportions above the floor.
        assert all(topped[0, i] >= topped[0, j] - 1e-9 for i in here for j in here if got[0, i] >= got[0, j])
    np.testing.assert_allclose(shares.tempered(p, 1.0, feasible), p, atol=1e-15)
    np.testing.assert_allclose(shares.tempered(p, 0.0, feasible), feasible / feasible.sum(), atol=1e-15)


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from(["sqrt-K", "matched"]))
def test_a_protected_control_keeps_its_share(case, protect):
    p, feasible, _, _, power, _ = case
    control = int(np.flatnonzero(feasible[0])[0])
    experimental = feasible.copy()
    experimental[:, control] = False
    k = int(experimental.sum())
    floor = 0.4 / (k + 1)
    got = shares.with_control(shares.tempered(p, power, experimental), control, protect, floor, feasible)
    assert got.sum() == pytest.approx(1, abs=1e-12) and (got[~feasible] == 0).all() and (got[feasible] >= floor - 1e-12).all()
    if k:
        assert got[0, control] == pytest.approx(1 / (1 + np.sqrt(k)) if protect == "sqrt-K" else got[experimental].max(), abs=1e-12)


# ---- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make, words", [
    (lambda: Thompson(power=-1), "power takes a number of at least 0, got -1"),
    (lambda: Thompson(power="n/N"), "'n/2N'"),
    (lambda: Thompson(power=float("nan")), "nan"),
    (lambda: Thompson(floor=-0.1), "floor takes a number of at least 0"),
    (lambda: Thompson(floor="a"), "'a'"),
    (lambda: Thompson(floor_rule="affin"), "did you mean 'affine'"),
    (lambda: Thompson(floor=0.5, ceiling=0.4), "above ceiling"),
    (lambda: Thompson(ceiling=0), "ceiling takes a number above 0"),
    (lambda: Thompson(control="a"), "both or neither"),
    (lambda: Thompson(protect="matched"), "both or neither"),
    (lambda: Thompson(control="a", protect="match"), "did you mean 'matched'"),
    (lambda: Thompson(control="a", protect="matched", ceiling=0.9), "without ceiling"),
    (lambda: Thompson(level="stages"), "did you mean 'stage'"),
    (lambda: Thompson(contextual="no"), "True or False"),
    (lambda: Fixed({}), "mapping"),
    (lambda: Fixed({"a": 0}), r"\(0, 1\], got 0"),
    (lambda: PermutedBlock(0), "at least 1, got 0"),
    (lambda: PermutedBlock(ratios={"a": 1.5}), "whole number"),
    (lambda: Stratified(by="sex"), r"\['sex'\]"),
])
def test_declarations_refuse(make, words):
    with pytest.raises(TrialError, match=words):
        make()


COVARIATES = Study(Baseline("sex", levels=["f", "m"]), Baseline("age"), Decision("arm", {when(sex="f"): ["a", "b"], when(sex="m"): ["b", "c"]}),
                   Response("y", Normal()), utility="y", scales={"age": (50, 10), "y": 1})


@pytest.mark.parametrize("rule, study, words", [
    (Thompson(floor=0.4), ARMS, r"floor=0.4 times the 3 options of 'arm' \('a', 'b', 'c'\) is 1.2, above 1; at most 0.3333"),
    (Thompson(ceiling=0.3), ARMS, "ceiling=0.3 times the 3 options"),
    (Thompson(floor=0.1, floor_rule="clip"), ARMS, "for two options"),
    (Thompson(control="d", protect="matched"), ARMS, "'d', which is no option"),
    (Thompson(control="a", protect="sqrt-K", floor=0.3), ARMS, "more than protect='sqrt-K'"),
    (Fixed({"a": 0.5, "b": 0.5}), ARMS, "lacks the probability of 'c'"),
    (Fixed({"a": 0.5, "b": 0.3, "d": 0.2}), ARMS, "'d', which is no option"),
    (Fixed({"a": 0.5, "b": 0.3, "c": 0.1}), ARMS, "add up to 0.9, not 1"),
    (Fixed({"a": 0.5, "b": 0.5, "c": 0.4}), COVARIATES, "'b', 'c' add up to 0.9"),
    (PermutedBlock(4), ARMS, "size=4 is no multiple of 3"),
    (PermutedBlock(ratios={"a": 1, "b": 1}), ARMS, "lacks the ratio of 'c'"),
    (PermutedBlock(ratios={"a": 1, "b": 1, "x": 1}), ARMS, "'x', which is no option"),
    (Stratified(by=["sx"]), COVARIATES, "did you mean 'sex'"),
    (Stratified(by=["age"]), COVARIATES, "'age' is a number"),
    (Thompson(level="sequence"), COVARIATES, "depend on covariate 'sex'"),
    (Thompson(level="sequence", floor=0.2), UNRESTRICTED, "8 embedded regimes is above 1"),
    (Thompson(level="sequence", ceiling=0.1), UNRESTRICTED, "8 embedded regimes is below 1"),
    (Thompson(lambda n, N: -1), ARMS, "returned -1"),
])
def test_designs_refuse(rule, study, words):
    with pytest.raises(TrialError, match=words):
        rule.check(study, study.decisions[0].name)


@pytest.mark.parametrize("rule, words", [
    (Equal(), "equal"),
    (Thompson(), "Thompson"),
    (Thompson(0.5, floor=0.1), "Thompson, power 0.5, floor 0.1"),
    (Thompson("n/2N", floor=0.1, floor_rule="clip", level="hierarchical", contextual=False),
     "Thompson, power n/2N, floor 0.1 (clip), by the best regime first, average history"),
    (Thompson(control="a", protect="matched"), "Thompson, a protected (matched)"),
    (Fixed({"a": 0.5, "b": 0.5}), "fixed: a 0.5, b 0.5"),
    (PermutedBlock(8, {"a": 2, "b": 1}), "permuted blocks 2:1 (a, b) of 8"),
    (Stratified(["sex"]), "permuted blocks, stratified by sex"),
])
def test_rules_say_what_they_do(rule, words):
    assert rule.text() == words


def test_patients_who_are_alike_are_asked_about_once():
    asked = []

    class Counting(Told):
        def options(self, decision, trial, columns, feasible):
            asked.append(len(trial))
            return super().options(decision, trial, columns, feasible)

    p = np.array([[30, 20, 10], [0, 15, 45]]) / 60
    trial = np.array([0, 1, 1, 0, 0, 1, 0])
    columns = {"x": np.array([0.5, 0.5, 0.5, 0.5, np.nan, 0.5, np.nan]), "z": np.array([0, 1, 1, 0, 0, 0, 0])}
    feasible = np.ones((7, 3), dtype=bool)
    feasible[3, 2] = False
    here = situation(ARMS, p)
    rows = Situation(**{**vars(here), "trial": trial, "columns": columns, "feasible": feasible, "posterior": Counting(p),
                        "recruited": np.full(7, 40), "assigned": np.zeros((7, 3), dtype=int)})
    distinct, place = rows.distinct()
    assert len(distinct.trial) == 5 and place[1] == place[2] and place[4] == place[6] and len(set(place[[0, 1, 3, 4, 5]])) == 5
    np.testing.assert_array_equal(distinct.trial[place], trial)
    for name in columns:
        np.testing.assert_array_equal(distinct.columns[name][place], columns[name])
    np.testing.assert_array_equal(distinct.feasible[place], feasible)
    asked.clear()
    full = Situation(**{**vars(rows), "feasible": np.ones((7, 3), dtype=bool)})
    got = Thompson(floor=0.1).probabilities(full)
    assert asked == [4]
    np.testing.assert_allclose(got, 0.1 + 0.7 * rows.posterior.p[trial], rtol=1e-12)


# ---- a trial of 40, exactly -------------------------------------------------------------------------


def later_better(a1, b1, a2, b2):
    """P(second > first) of two Beta variables with whole parameters, in closed form."""
    i = np.arange(a2.max())
    terms = np.exp(betaln(a1[:, None] + i, (b1 + b2)[:, None]) - np.log(b2[:, None] + i) - betaln(1 + i, b2[:, None]) - betaln(a1, b1)[:, None])
    return np.where(i < a2[:, None], terms, 0).sum(axis=1)


def recursion(rule, truth, size=40, burn_in=10):
    """Exact operating characteristics of a fully sequential trial between two arms, the first patients in alternation."""
    law = {(0, 0, 0, 0): 1.0}
    for n in range(size):
        state = np.array(list(law))
        p = later_better(*(state.T + 1))
        pi = np.tile([1.0, 0.0] if n % 2 == 0 else [0.0, 1.0], (len(state), 1)) if n < burn_in else rule.from_best(
            np.stack([1 - p, p], axis=1), np.ones((len(state), 2), dtype=bool), np.full(len(state), n), size)
        grown: dict[tuple[int, ...], float] = {}
        for (s1, f1, s2, f2), weight, (one, two) in zip(state.tolist(), law.values(), pi.tolist(), strict=True):
            for new, chance in (((s1 + 1, f1, s2, f2), one * truth[0]), ((s1, f1 + 1, s2, f2), one * (1 - truth[0])),
                                ((s1, f1, s2 + 1, f2), two * truth[1]), ((s1, f1, s2, f2 + 1), two * (1 - truth[1]))):
                if chance:
                    grown[new] = grown.get(new, 0.0) + weight * chance
        law = grown
    state, weight = np.array(list(law)), np.array(list(law.values()))
    s1, f1, s2, f2 = state.T
    p = later_better(*(state.T + 1))
    return [weight @ (s2 + f2), weight @ (s1 + s2), weight[p > 0.975].sum(), weight[p < 0.025].sum(), weight[(s1 + f1) - (s2 + f2) >= 8].sum()]


@pytest.mark.parametrize("power, floor_rule, truth, published", [
    (1.0, "clip", (0.3, 0.3), [20, 12, 0.013727, 0.013727, 0.365017]),
    (1.0, "clip", (0.3, 0.5), [26.846489, 17.369298, 0.166722, 0.000897, 0.084715]),
    (0.5, "clip", (0.3, 0.5), [25.108989, 17.021798, 0.202745, 0.000959, 0.059878]),
    ("n/2N", "clip", (0.3, 0.5), [23.700862, 16.740172, 0.214150, 0.000717, 0.044565]),
    (1.0, "affine", (0.3, 0.5), [25.991514, 17.198303, 0.185562, 0.000938, 0.073748]),
    (0.5, "affine", (0.3, 0.5), [24.170741, 16.834148, 0.209458, 0.000768, 0.052906]),
    ("n/2N", "affine", (0.3, 0.5), [22.992598, 16.598520, 0.217261, 0.000613, 0.042501]),
])
def test_a_trial_of_forty_by_forward_recursion(power, floor_rule, truth, published):
    got = recursion(Thompson(power, floor=0.1, floor_rule=floor_rule), truth)
    np.testing.assert_allclose(got[:2], published[:2], atol=1e-6)
    np.testing.assert_allclose(got[2:], published[2:], atol=6e-7)


def test_a_row_does_not_depend_on_the_rows_beside_it():
    """To the last bit, for many options, whatever the layout of the arrays in memory."""
    rng = np.random.default_rng(6)
    names = [f"o{i}" for i in range(12)]
    study = Study(Decision("arm", names), Response("y", Normal(), model=Saturated()), utility="y")
    raw = rng.dirichlet(np.ones(12), size=40)
    feasible = rng.random((40, 12)) < 0.8
    feasible[:, 0] = True
    columns = {"arm": rng.integers(12, size=(40, 60)), "y": rng.normal(size=(40, 60))}

    class Plain:
        def __init__(self, p):
            self.p = p

        def options(self, decision, trial, columns, feasible):
            inner = self.p

            class Values:
                def p_best(self, active):
                    return np.asfortranarray(shares.normalized(inner[trial], active)), None

                def mean(self):
                    return np.asfortranarray(inner[trial])

                def sd(self):
                    return np.asfortranarray(0.1 + inner[trial] / 3)

            return Values()

        def regimes(self):
            return one_hot(np.tile(np.full(12, 5 / 60), (len(self.p), 1)))

    def made(rows):
        data = Observed({n: c[rows] for n, c in columns.items()}, None, np.zeros((len(rows), 60), dtype=int), np.ones((len(rows), 60), dtype=bool))
        return Situation(study, 0, np.arange(len(rows)), {}, np.asfortranarray(feasible[rows]), Plain(raw[rows]), data, np.full(len(rows), 40), 100,
                         np.zeros((len(rows), 12), dtype=int))

    rules = [Thompson(0.5, floor=0.02), Thompson("n/2N", floor=0.05, floor_rule="iterative", ceiling=0.2), TopTwo(floor=0.01), NullStabilized(),
             SmartAR(), Thompson(control="o0", protect="matched"), Thompson(level="hierarchical"), Thompson(level="sequence")]
    for rule in rules:
        whole = rule.probabilities(made(np.arange(40)))
        np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-12)
        assert (whole[~feasible] == 0).all()
        for rows in (np.array([3]), np.array([39, 0, 17]), np.arange(25)):
            np.testing.assert_array_equal(rule.probabilities(made(rows)), whole[rows], err_msg=rule.text())


def plain_iterative(p, floor):
    """The iterative floor as one would write it for one row of feasible options."""
    low: set[int] = set()
    while True:
        rest, others = 1 - floor * len(low), sum(p[i] for i in range(len(p)) if i not in low)
        free = len(p) - len(low)
        now = [floor if i in low else rest * p[i] / others if others else rest / free for i in range(len(p))]
        fell = {i for i, x in enumerate(now) if i not in low and x < floor - 1e-12}
        if not fell:
            return now
        low |= fell


@settings(max_examples=200, deadline=None)
@given(cases())
def test_floors_and_ceilings_are_what_plain_code_gives(case):
    p, feasible, floor, ceiling, _, _ = case
    here = feasible[0]
    np.testing.assert_allclose(shares.iterative_floor(p, floor, feasible)[0, here], plain_iterative(p[0, here].tolist(), floor), atol=1e-12)
    lifted = shares.affine_floor(p, floor, feasible)
    excess = lifted[0, here] - floor
    ceiling = max(ceiling, floor)
    if (excess > 1e-9).all():  # otherwise what is poured is shared alike, which the worked examples cover
        low, high = 1.0, 1e12
        for _ in range(200):  # the t for which min(ceiling, floor + t excess) sums to 1
            t = np.sqrt(low * high)
            low, high = (t, high) if np.minimum(ceiling, floor + t * excess).sum() < 1 else (low, t)
        np.testing.assert_allclose(shares.capped(lifted, ceiling, floor, feasible)[0, here], np.minimum(ceiling, floor + low * excess), atol=1e-7)
