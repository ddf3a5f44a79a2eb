"""Many small symmetric matrices at once, against NumPy one by one; written out and by calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesdtr.runtime import double_precision
from bayesdtr.trial.analysis.small import WRITTEN, Factors, moved, packed, products, rooted, symmetric_times, whole

MANY = 5
SIZES = [1, 2, 5, WRITTEN + 3]


def matrices(p, seed=0):
    wide = np.random.default_rng(seed).normal(size=(MANY, p, 2 * p))
    return wide @ wide.swapaxes(1, 2) / p + 0.1 * np.eye(p)


def pack(each):
    return packed(jnp.asarray(np.moveaxis(each, 0, -1)))


@pytest.mark.parametrize("p", SIZES)
def test_packing_is_undone(p):
    each, v = matrices(p), np.random.default_rng(1).normal(size=(p, MANY))
    with double_precision():
        assert whole(pack(each), p) == pytest.approx(each, abs=1e-15)
        assert whole(products(jnp.asarray(v)), p) == pytest.approx(np.einsum("an,bn->nab", v, v), abs=1e-15)
        assert symmetric_times(pack(each), jnp.asarray(v)) == pytest.approx(np.einsum("nab,bn->an", each, v), abs=1e-12)


@pytest.mark.parametrize("p", SIZES)
def test_factors_solve_and_invert(p):
    each, v = matrices(p), np.random.default_rng(1).normal(size=(p, MANY))

    def all_of(given, v):
        factors = Factors.of(given, p)
        found = factors.inverses()
        return factors.smallest, factors.solve(v), found.log_det, whole(found.packed, p), rooted(found.halves, p)

    with double_precision():
        smallest, solved, log_det, inverse, roots = jax.jit(all_of)(pack(each), jnp.asarray(v))
    low = np.linalg.cholesky(each)
    assert smallest == pytest.approx((np.diagonal(low, axis1=1, axis2=2) ** 2).min(axis=1), rel=1e-10)
    assert solved == pytest.approx(np.einsum("nab,bn->an", np.linalg.inv(each), v), rel=1e-8, abs=1e-10)
    assert log_det == pytest.approx(np.linalg.slogdet(each)[1], rel=1e-10, abs=1e-10)
    assert inverse == pytest.approx(np.linalg.inv(each), rel=1e-8, abs=1e-10)
    assert np.einsum("nka,nkb->nab", roots, roots) == pytest.approx(np.linalg.inv(each), rel=1e-8, abs=1e-10)
    assert (np.asarray(roots)[:, 0] != 0).all()


@pytest.mark.parametrize("p", SIZES)
def test_draws_are_moved_by_the_roots_of_their_own_matrices(p):
    z, which = np.random.default_rng(2).normal(size=(40, p)), np.random.default_rng(3).integers(0, MANY, 40)
    with double_precision():
        halves = Factors.of(pack(matrices(p)), p).inverses().halves
        roots = np.asarray(rooted(halves, p))
        assert moved(halves, jnp.asarray(which), z) == pytest.approx(np.einsum("dk,dkp->dp", z, roots[which]), abs=1e-12)


@pytest.mark.parametrize("p", SIZES[1:])
def test_a_matrix_that_is_not_positive_definite_is_told_and_replaced(p):
    each = matrices(p)
    bad = each.copy()
    bad[2] -= 3 * np.linalg.eigvalsh(bad[2])[0] * np.eye(p) + 5 * np.eye(p)
    with double_precision():
        good = Factors.of(pack(each), p)
        fresh = Factors.of(pack(bad), p)
        fine = np.asarray(fresh.smallest > 0)
        assert fine.tolist() == [True, True, False, True, True]
        assert whole(fresh.where(jnp.asarray(fine), good).inverses().packed, p) == pytest.approx(np.linalg.inv(each), rel=1e-8, abs=1e-10)
