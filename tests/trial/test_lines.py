"""Values on lines through draws: exact probabilities of Normal values, brute force over dense draws, and what is shared, left out or equal."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from bayesdtr.trial.analysis.lines import Chances, Lines, compared

FREE = (-np.inf, np.inf)


def lines(draws, slopes, at, bounds=FREE):
    return Lines(draws, slopes, at, bounds, _compared(draws, slopes, bounds))


def _compared(draws, slopes, bounds):
    values = compared(draws, np.zeros_like(draws), bounds, np)[0]
    return values, np.stack([compared(draws, slopes[:, k], bounds, np)[1] for k in range(slopes.shape[1])], axis=1)


def normal(mean, root, z, transform=lambda v: v, slope=np.ones_like, bounds=FREE):
    """Values ``transform(mean + root z)`` of one batch: one line between two entries, or one for each against the mean of the others."""
    raw = mean + z @ root.T
    count = len(mean)
    weights = np.array([[1.0, -1.0]]) if count == 2 else np.eye(count) - (1 - np.eye(count)) / (count - 1)
    directions = weights @ root
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    slopes = slope(raw)[None] * (directions @ root.T)[:, None, :]
    return lines(transform(raw)[None], slopes[None], (directions @ z.T)[None], bounds)


def test_two_normal_values_are_compared_exactly_whatever_the_draws():
    mean, root = np.array([0.3, 0.0]), np.array([[0.4, 0.1, 0.0], [0.0, 0.2, 0.5]])
    found = normal(mean, root, np.random.default_rng(1).normal(size=(32, 3)))
    sd = np.linalg.norm(root[0] - root[1])
    p, error = found.p_best()
    np.testing.assert_allclose(p[0], [norm.cdf(0.3 / sd), norm.cdf(-0.3 / sd)], rtol=1e-12)
    np.testing.assert_allclose(error, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.exceeds(np.array([1]), 0.1)[0], [norm.cdf(0.2 / sd), 0.5], rtol=1e-12)
    np.testing.assert_allclose(found.within(0.2)[0], norm.cdf(-0.1 / sd) - norm.cdf(-0.5 / sd), rtol=1e-12)


def test_logistic_values_are_compared_exactly_as_logits():
    mean, root = np.array([-3.0, -2.5]), np.array([[1.5, 0.5], [0.3, 2.0]])
    found = normal(mean, root, np.random.default_rng(2).normal(size=(64, 2)), expit, lambda v: expit(v) * expit(-v), (0.0, 1.0))
    np.testing.assert_allclose(found.p_best()[0][0, 0], norm.cdf(-0.5 / np.linalg.norm(root[0] - root[1])), rtol=1e-9)
    # A margin between bounded values is straight on no scale: draws are counted.
    apart = found.draws[0, :, 0] - found.draws[0, :, 1]
    for margin in (0.05, -0.05):
        assert found.exceeds(np.array([1]), margin)[0, 0] == (apart > margin).mean()
    assert found.within(0.1)[0] == (np.abs(apart) < 0.1).mean()


@pytest.mark.parametrize("active", [None, np.array([[True, True, False, True]])])
def test_several_values_agree_with_brute_force(active):
    rng = np.random.default_rng(4)
    mean, root = np.array([0.0, 0.1, 0.5, 0.3]), rng.normal(size=(4, 6)) * 0.4
    found = normal(mean, root, rng.normal(size=(2048, 6)))
    dense = mean + np.random.default_rng(5).normal(size=(400_000, 6)) @ root.T
    shown = dense if active is None else np.where(active, dense, -np.inf)
    p, error = found.p_best(active)
    assert p.sum() == pytest.approx(1.0)
    wanted = np.bincount(shown.argmax(axis=1), minlength=4) / len(dense)
    assert (np.abs(p[0] - wanted) < 4 * np.hypot(error[0], np.sqrt(wanted / len(dense))) + 1e-9).all()
    kept = dense if active is None else dense[:, active[0]]
    assert abs(found.within(0.8, active)[0] - (np.ptp(kept, axis=1) < 0.8).mean()) < 0.02


def test_equal_values_share_and_one_that_is_left_is_certain():
    draws = np.tile(np.array([0.2, 0.2, 0.1]), (2, 8, 1))
    flat = lines(draws, np.zeros((2, 3, 8, 3)), np.zeros((2, 3, 8)))
    np.testing.assert_array_equal(flat.p_best()[0], [[0.5, 0.5, 0.0]] * 2)
    np.testing.assert_array_equal(flat.exceeds(np.array([0, 2]))[:, 1], [0.5, 1.0])
    pair = lines(draws[:, :, :2], np.zeros((2, 1, 8, 2)), np.zeros((2, 1, 8)))
    np.testing.assert_array_equal(pair.p_best()[0], [[0.5, 0.5]] * 2)
    np.testing.assert_array_equal(pair.p_best(np.array([[True, False], [False, False]]))[0], [[1.0, 0.0], [0.0, 0.0]])


def test_chances_are_those_of_their_lines_and_make_them_only_when_asked():
    made = []
    mean, root = np.array([0.3, 0.0]), np.array([[0.4, 0.1], [0.0, 0.2]])
    whole = normal(mean, root, np.random.default_rng(6).normal(size=(32, 2)))
    p, error = whole.p_best()
    found = Chances(lambda: made.append(1) or whole, np.ones((1, 2), dtype=bool), p[:, 0], error[:, 0])
    np.testing.assert_array_equal(found.p_best()[0], p)
    np.testing.assert_array_equal(found.p_best(np.array([[False, True]]))[0], [[0.0, 1.0]])
    assert not made and found.shape == (1, 2)
    np.testing.assert_array_equal(found.take(np.array([0, 0])).mean(), np.repeat(whole.mean(), 2, axis=0))
    assert made
