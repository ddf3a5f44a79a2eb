"""Completions that others settle come out as if each final posterior were worked out."""

import numpy as np
import pytest

from bayesdtr.trial.analysis.betas import Betas
from bayesdtr.trial.analysis.drawn import Drawn
from bayesdtr.trial.stopping.completions import Completed, Contest
from bayesdtr.trial.stopping.predictive import Ends

SUCCESS = (0.55, 0.8, 0.975)


def trials(seed, arms, scale, size=12, completions=90):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(2, 25, (2, size, arms)).astype(float)
    extra = rng.integers(0, 30, (size, arms))
    yes = np.floor(rng.random((size, completions, arms)) * (extra[:, None] + 1))
    active = np.ones((size, arms), dtype=bool)
    active[: size // 3, rng.integers(arms)] = False
    values = Betas(a, b, np.full((size, arms), scale), np.zeros((size, arms)))
    return Completed(values, active, extra, yes)


def one_by_one(made, success, probability):
    """Whether any active arm's probability exceeds the level, every posterior worked out."""
    count = made.yes.shape[1]
    each = lambda table: np.repeat(table, count, axis=0)  # noqa: E731
    yes = made.yes.reshape(-1, made.yes.shape[2])
    final = Betas(each(made.values.a) + yes, each(made.values.b) + each(made.extra) - yes, each(made.values.scale), each(made.values.offset))
    return (np.where(each(made.active), probability(final, each(made.active)), 0) > success).any(axis=1).reshape(-1, count)


@pytest.mark.parametrize("success", SUCCESS)
@pytest.mark.parametrize(("arms", "scale"), [(2, 1.0), (2, -2.0), (3, 1.0), (3, -1.0), (4, 1.0)])
def test_best_of_several(arms, scale, success):
    """Also below one half, where two arms could both be likely enough."""
    success = success - 0.15 if arms == 4 and success < 0.6 else success
    made, every = trials(arms, arms, scale), tuple(range(arms))
    asked = []

    def best(values, active):
        asked.append(len(values.a))
        return values.p_best(active)[0]

    contest = Contest(every, every, best)
    wanted = one_by_one(made, success, lambda values, active: values.p_best(active)[0])
    assert 0.02 < wanted.mean() < 1
    np.testing.assert_array_equal(contest.reached(made, success, enumerated=False), wanted)
    if success > 0.9:
        assert sum(asked) < 0.7 * wanted.size  # most are settled by others
    np.testing.assert_array_equal(contest.reached(made, success, enumerated=True), wanted)


@pytest.mark.parametrize(("success", "margin"), [(0.4, 0.0), (0.9, 0.05), (0.9, -0.1)])
@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_any_that_beats_a_given_one(scale, success, margin):
    made = trials(7, 3, scale)
    beats = lambda values, active: values.exceeds(np.ones(len(active), dtype=int), margin)  # noqa: E731
    found = np.any([Contest((j, 1), (0,), beats).reached(made, success, enumerated=False) for j in (0, 2)], axis=0)

    def probability(values, active):
        p = values.exceeds(np.ones(len(active), dtype=int), margin)
        p[:, 1] = 0
        return p

    wanted = one_by_one(made, success, probability)
    assert 0.02 < wanted.mean() < 0.98
    np.testing.assert_array_equal(found, wanted)


def test_final_draws_with_the_entries_first():
    rng = np.random.default_rng(3)
    draws = rng.normal(size=(40, 64, 4))
    draws[:, :, 2] = draws[:, :, 1]  # a tie in every draw
    draws[5:9, :, 3] = -np.inf
    active = np.ones((40, 4), dtype=bool)
    ends, drawn = Ends(np.moveaxis(draws, 2, 0)), Drawn(draws)
    for mask in (active, np.where(np.arange(40)[:, None] < 20, active, [True, False, True, False])):
        np.testing.assert_allclose(ends.p_best(mask)[0], drawn.p_best(mask)[0], atol=1e-15)
    np.testing.assert_array_equal(ends.exceeds(np.full(40, 2), 0.1), np.where(np.arange(4) == 2, 0.0, drawn.exceeds(np.full(40, 2), 0.1)))
