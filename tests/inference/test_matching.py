"""Proposals that are placed by the weighted moments of the round before."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from bayesdtr.inference.matching import PRIOR, Frame, matched, standard
from bayesdtr.inference.pareto import smooth
from bayesdtr.runtime import double_precision

SIZE = 40_000


def test_a_round_finds_the_moments_of_what_it_aims_at():
    mean, covariance = np.array([0.8, -0.5]), np.array([[1.5, 0.6], [0.6, 0.7]])
    z = 1.6 * np.random.default_rng(3).normal(size=(SIZE, 2))
    log_weights = stats.multivariate_normal(mean, covariance).logpdf(z) - stats.norm(0, 1.6).logpdf(z).sum(axis=1)
    with double_precision():
        frame = matched(jnp.asarray(z), smooth(jnp.asarray(log_weights))[0])
    weights = np.exp(log_weights - log_weights.max())
    effective = weights.sum() ** 2 / (weights**2).sum()
    prior = PRIOR * 2 / effective
    np.testing.assert_allclose(frame.centre, mean, atol=5 * np.sqrt(1.5 / effective) + prior)
    root = np.asarray(frame.root)
    np.testing.assert_allclose(root @ root.T, covariance, atol=5 * 1.5 * np.sqrt(2 / effective) + prior)


def test_weights_that_are_no_numbers_leave_the_standard_frame():
    z = jnp.asarray(np.random.default_rng(1).normal(size=(50, 3)))
    with double_precision():
        frame = matched(z, jnp.full(50, np.nan))
        np.testing.assert_array_equal(frame.root, np.eye(3))
        np.testing.assert_array_equal(frame.centre, 0)


def test_one_large_weight_moves_the_frame_little():
    log_weights = np.zeros(50)
    log_weights[7] = 1e3
    z = np.random.default_rng(2).normal(size=(50, 3)) + 4
    with double_precision():
        frame = matched(jnp.asarray(z), smooth(jnp.asarray(log_weights))[0])
    assert (np.abs(frame.centre) < np.abs(z[7])).all() and (np.diag(frame.root) > 0).all()


def test_placed_draws_have_the_density_that_the_volume_says():
    frame = Frame(jnp.array([1.0, -2.0]), jnp.array([[2.0, 0.0], [0.7, 0.5]]))
    e = np.random.default_rng(4).normal(size=(6, 2))
    placed = np.asarray(frame.place(jnp.asarray(e)))
    expected = stats.multivariate_normal(frame.centre, np.asarray(frame.root @ frame.root.T)).logpdf(placed)
    np.testing.assert_allclose(stats.norm.logpdf(e).sum(axis=1) - float(frame.log_volume), expected, rtol=1e-5)
    assert jax.tree.structure(standard(2)) == jax.tree.structure(frame)
