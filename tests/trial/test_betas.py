"""Independent Betas by quadrature, against closed sums, reference values, and integrals done another way."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import betaln

from bayesdtr.trial.analysis import Betas


def closed(a1, b1, a2, b2):
    """P(p2 > p1) for whole-number parameters."""
    i = np.arange(int(a2))
    return np.exp(betaln(a1 + i, b1 + b2) - np.log(b2 + i) - betaln(1 + i, b2) - betaln(a1, b1)).sum()


@pytest.fixture(scope="module")
def pairs():
    """Parameters from the prior to thousands of patients, balanced and not."""
    rng = np.random.default_rng(1)
    a, b = (np.ceil(rng.integers(1, 2000, (600, 2)) ** rng.random((600, 2))) for _ in range(2))
    a[0], b[0] = 1, 1
    return a, b, np.array([closed(*row) for row in np.stack([a[:, 0], b[:, 0], a[:, 1], b[:, 1]], axis=1)])


def test_two_entries_agree_with_the_closed_sum(pairs):
    a, b, exact = pairs
    first = np.zeros(len(a), dtype=int)
    assert np.abs(Betas(a, b).p_best()[0][:, 1] - exact).max() < 1e-10
    assert np.abs(Betas(a, b, scale=-2.0).p_best()[0][:, 0] - exact).max() < 1e-10
    assert np.abs(Betas(a, b).exceeds(first)[:, 1] - exact).max() < 1e-10
    # A shift too small to matter takes the way of entries that lie on different lines.
    assert np.abs(Betas(a, b, offset=[[0.0, 1e-14]]).p_best()[0][:, 1] - exact).max() < 1e-10


def test_reference_values_of_three_arms():
    values = Betas(np.array([[30, 41, 35]]), np.array([[30, 20, 27]]))
    p, error = values.p_best()
    assert p[0] == pytest.approx([0.01796526, 0.8788907, 0.1031441], abs=1e-7)
    assert (error == 0).all()
    assert values.exceeds(np.array([0]), 0.1)[0] == pytest.approx([0.5, 0.7951487, 0.3477606], abs=1e-7)


def literal(values, kind, margin=0.0, active=None):
    """P(best) or P(range < margin) of one row by adaptive quadrature over each entry, distribution functions from another library."""
    a, b, scale, offset = (x[0] for x in (values.a, values.b, values.scale, values.offset))
    among = [j for j in range(len(a)) if np.isfinite(offset[j]) and (active is None or active[j])]

    def below(j, v):
        at = (v - offset[j]) / scale[j]
        return stats.beta.cdf(at, a[j], b[j]) if scale[j] > 0 else stats.beta.sf(at, a[j], b[j])

    def term(i):
        rest = [j for j in among if j != i]

        def inside(p):
            v = offset[i] + scale[i] * p
            parts = [below(j, v) if kind == "best" else below(j, v + margin) - below(j, v) for j in rest]
            return stats.beta.pdf(p, a[i], b[i]) * np.prod(parts)

        grid = np.linspace(0, 1, 41)
        return sum(quad(inside, lo, hi, epsabs=1e-12, epsrel=1e-10)[0] for lo, hi in itertools.pairwise(grid))

    terms = [term(i) if i in among else 0.0 for i in range(len(a))]
    return np.array(terms) if kind == "best" else sum(terms)


CASES = [
    Betas(np.array([[3.0, 40.0, 7.5]]), np.array([[9.0, 60.0, 12.0]])),
    Betas(np.array([[3.0, 40.0, 7.5]]), np.array([[9.0, 60.0, 12.0]]), -1.5, 2.0),
    Betas(np.array([[3.0, 40.0, 7.5]]), np.array([[9.0, 60.0, 12.0]]), [[1.0, -1.0, 0.5]], [[0.0, 0.6, 0.1]]),
    Betas(np.array([[2.0, 80.0, 2.0, 5.0]]), np.array([[5.0, 20.0, 2.0, 1.0]]), 1.0, [[0.0, -0.4, -np.inf, -0.1]]),
]


@pytest.mark.parametrize("values", CASES, ids=["plain", "smaller is better", "different lines", "costs and one impossible"])
def test_best_and_range_agree_with_adaptive_quadrature(values):
    assert values.p_best()[0][0] == pytest.approx(literal(values, "best"), abs=1e-9)
    for margin in (0.05, 0.3, 1.7):
        assert values.within(margin)[0] == pytest.approx(literal(values, "range", margin), abs=1e-9)
    active = np.arange(values.shape[1])[None] != 1
    assert values.p_best(active)[0][0] == pytest.approx(literal(values, "best", active=active[0]), abs=1e-9)
    assert values.within(0.2, active)[0] == pytest.approx(literal(values, "range", 0.2, active[0]), abs=1e-9)


@pytest.mark.parametrize("values", CASES, ids=["plain", "smaller is better", "different lines", "costs and one impossible"])
def test_moments_quantiles_and_differences_agree_with_simulation(values):
    rng = np.random.default_rng(3)
    size = 400_000
    drawn = values.offset + values.scale * rng.beta(values.a, values.b, size=(size, values.shape[1]))
    possible = np.isfinite(values.offset[0])
    at = np.flatnonzero(possible)
    error = values.sd()[0, at] / np.sqrt(size)
    assert (np.abs(values.mean()[0, at] - drawn[:, at].mean(axis=0)) < 4 * error).all()
    assert values.sd()[0, at] == pytest.approx(drawn[:, at].std(axis=0), rel=0.01)
    below = (drawn[:, at] < values.quantile(0.2)[0, at]).mean(axis=0)
    assert np.abs(below - 0.2).max() < 4 * np.sqrt(0.16 / size)
    assert (values.mean()[0, ~possible] == -np.inf).all() and (values.quantile(0.3)[0, ~possible] == -np.inf).all()
    for margin in (0.0, 0.07):
        p = values.exceeds(np.array([0]), margin)[0]
        found = (drawn > drawn[:, :1] + margin).mean(axis=0)
        found[0] = 0.5
        assert np.abs(p - found).max() < 4 * np.sqrt(0.25 / size)


def test_answers_do_not_depend_on_neighbors_to_the_last_bit():
    rng = np.random.default_rng(2)
    size = 150
    n = rng.integers(5, 600, (size, 3))
    offset = np.where(rng.random((size, 3)) < 0.2, rng.normal(size=(size, 3)) / 10, 0.0)
    offset[rng.random((size, 3)) < 0.1] = -np.inf
    values = Betas(1 + rng.binomial(n, 0.3), 1 + n - rng.binomial(n, 0.3), rng.choice([1.0, -1.0], (size, 1)), offset)
    active, reference, some = rng.random((size, 3)) < 0.8, rng.integers(0, 3, size), rng.permutation(size)[:47]
    asked = (lambda v, i: v.p_best(active[i])[0], lambda v, i: v.within(0.05, active[i]), lambda v, i: v.exceeds(reference[i], 0.02),
             lambda v, i: v.quantile(0.2))
    for ask in asked:
        whole = ask(values, np.arange(size))
        assert np.array_equal(ask(values.take(some), some), whole[some])
        assert np.array_equal(ask(values.take(some[:1]), some[:1]), whole[some[:1]])


def test_probabilities_are_shared_among_the_active_alone():
    values = Betas(np.array([[5.0, 9.0, 2.0]] * 3), np.array([[5.0, 4.0, 2.0]] * 3))
    active = np.array([[True, False, True], [False, True, False], [False, False, False]])
    p = values.p_best(active)[0]
    assert p[0, 1] == 0 and p[0].sum() == pytest.approx(1, abs=1e-14)
    assert p[1].tolist() == [0, 1, 0]
    assert p[2].tolist() == [0, 0, 0]
    assert values.within(0.01, active)[1] == pytest.approx(1, abs=1e-10)
