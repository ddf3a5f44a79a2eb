"""Normal values with a common unknown SD: exact for two, by quadrature for more, against another quadrature and simulation."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from bayesdtr.trial.analysis import Students


def students(center, spread, shape, rate):
    return Students(np.array([center], dtype=float), np.array([spread], dtype=float), np.array([float(shape)]), np.array([float(rate)]))


def literal(values, margin=None):
    """P(best) or P(range < margin) of one row, integrated over the precision's quantile and each entry's score."""
    center, spread, shape, rate = values.center[0], values.spread[0], values.shape_[0], values.rate[0]

    # Gauss-Legendre on the precision's quantile, refined towards both ends; midpoints of a fine grid of scores.
    nodes, weights = np.polynomial.legendre.leggauss(60)
    u, w = (nodes + 1) / 2, weights / 2
    u, w = u**3 * (10 - 15 * u + 6 * u**2), w * 30 * u**2 * (1 - u) ** 2
    sigma = np.sqrt(rate / stats.gamma.ppf(u, shape))[:, None]
    z = np.linspace(-8.5, 8.5, 2001)

    def term(i):
        x, rest = center[i] + spread[i] * sigma * z, [j for j in range(len(center)) if j != i]
        below = [ndtr((x - center[j]) / (spread[j] * sigma)) for j in rest]
        if margin is not None:
            below = [ndtr((x + margin - center[j]) / (spread[j] * sigma)) - p for j, p in zip(rest, below, strict=True)]
        return w @ (stats.norm.pdf(z) * np.prod(below, axis=0)).sum(axis=1) * (z[1] - z[0])

    terms = np.array([term(i) for i in range(len(center))])
    return terms if margin is None else terms.sum()


def test_three_entries_agree_with_another_quadrature():
    values = students([0.0, 0.4, 0.1], [0.2, 0.5, 0.3], 6.5, 9.0)
    assert values.p_best()[0][0] == pytest.approx(literal(values), abs=1e-8)
    assert values.within(0.6)[0] == pytest.approx(literal(values, 0.6), abs=1e-8)


@pytest.mark.parametrize(("shape", "rate"), [
    (0.5, 1.0), (1.5, 2.0), (3.9, 4.0), (4.0, 4.0), (9.0, 4.0), (24.9, 20.0), (25.0, 20.0), (40.0, 90.0), (900.0, 900.0),
])
def test_more_entries_agree_with_two(shape, rate):
    """An entry far below the others changes nothing: the quadrature must then give the exact probabilities of two."""
    two = students([0.3, 0.0], [0.4, 0.15], shape, rate)
    three = students([0.3, 0.0, -1e9], [0.4, 0.15, 1e-3], shape, rate)
    assert three.p_best()[0][0, :2] == pytest.approx(two.p_best()[0][0], abs=1e-8)
    # Copies of one entry share what the closed form gives to either.
    same = students([0.3, 0.3, 0.3, 0.3], [0.4] * 4, shape, rate)
    assert same.p_best()[0][0] == pytest.approx([0.25] * 4, abs=1e-12)


@pytest.mark.parametrize("shape", [0.7, 2.5, 30.0])
def test_everything_agrees_with_simulation(shape):
    rng, size = np.random.default_rng(5), 400_000
    values = students([0.0, 0.4, 0.1, -np.inf], [0.2, 0.5, 0.3, 1.0], shape, 1.4 * shape)
    sigma = np.sqrt(1.4 * shape / rng.gamma(shape, size=(size, 1)))
    drawn = np.array([0.0, 0.4, 0.1]) + sigma * np.array([0.2, 0.5, 0.3]) * rng.standard_normal((size, 3))
    error = 4 * np.sqrt(0.25 / size)
    best = (drawn == drawn.max(axis=1, keepdims=True)).mean(axis=0)
    assert np.abs(values.p_best()[0][0, :3] - best).max() < error and values.p_best()[0][0, 3] == 0
    assert abs(values.within(0.7)[0] - (np.ptp(drawn, axis=1) < 0.7).mean()) < error
    two = np.array([[True, True, False, False]])
    assert abs(values.within(0.7, two)[0] - (np.ptp(drawn[:, :2], axis=1) < 0.7).mean()) < error
    assert abs(values.p_best(two)[0][0, 1] - (drawn[:, 1] > drawn[:, 0]).mean()) < error
    above = (drawn - drawn[:, 1:2] > 0.1).mean(axis=0)
    assert np.abs(values.exceeds(np.array([1]), 0.1)[0, [0, 2]] - above[[0, 2]]).max() < error
    assert values.exceeds(np.array([1]), 0.1)[0, [1, 3]].tolist() == [0.5, 0.0]
    assert np.abs((drawn < values.quantile(0.3)[0, :3]).mean(axis=0) - 0.3).max() < error
    if shape > 2:
        assert values.sd()[0, :3] == pytest.approx(drawn.std(axis=0), rel=0.02)
    else:
        assert shape > 1 or np.isinf(values.sd()[0, :3]).all()


def test_answers_do_not_depend_on_neighbors_to_the_last_bit():
    rng, size = np.random.default_rng(2), 100
    values = Students(rng.normal(size=(size, 3)), rng.gamma(2, 0.2, (size, 3)), rng.choice([0.8, 3.0, 20.0], size), rng.gamma(3, 1.0, size))
    active, some = rng.random((size, 3)) < 0.8, rng.permutation(size)[:37]
    for ask in (lambda v, i: v.p_best(active[i])[0], lambda v, i: v.within(0.5, active[i]), lambda v, i: v.exceeds(np.zeros(len(i), dtype=int))):
        whole = ask(values, np.arange(size))
        assert np.array_equal(ask(values.take(some), some), whole[some])
        assert np.array_equal(ask(values.take(some[:1]), some[:1]), whole[some[:1]])
