"""The simultaneous set of best, and a binary SMART whose posterior is known in closed form."""

import math

import numpy as np
import pandas as pd
import pytest
from known import COUNTS, SMART, smart_frame

from bayesdtr import best_set, compare, fit, optimize

DRAWS = 400_000


def literal(values, alpha, g):
    """The rank method in loops: rank each regime's differences over draws, take the largest rank of each draw."""
    draws, regimes = len(values), len(values[0])
    means = [sum(row[r] for row in values) / draws for r in range(regimes)]
    best = max(range(regimes), key=means.__getitem__)
    difference = {r: [g(row[r]) - g(row[best]) for row in values] for r in range(regimes) if r != best}
    rank = {r: [1 + sum(other < d for other in column) for d in column] for r, column in difference.items()}
    largest = sorted(max(rank[r][b] for r in rank) for b in range(draws))
    h = (draws - 1) * (1 - alpha)  # linear interpolation between order statistics, the default of R and NumPy
    low = math.floor(h)
    quantile = largest[low] + (h - low) * (largest[min(low + 1, draws - 1)] - largest[low])
    position = math.ceil(quantile)
    return best, [0.0 if r == best else sorted(difference[r])[position - 1] for r in range(regimes)]


@pytest.mark.parametrize("scale", ["identity", "log-odds"])
@pytest.mark.parametrize(("draws", "regimes", "alpha", "seed"), [(50, 2, 0.05, 1), (201, 5, 0.1, 2), (120, 8, 0.32, 3)])
def test_rank_method_literally(draws, regimes, alpha, seed, scale):
    rng = np.random.default_rng(seed)
    values = rng.beta(rng.uniform(2, 6, regimes), 4, (draws, regimes))
    g = (lambda p: math.log(p) - math.log1p(-p)) if scale == "log-odds" else lambda p: p
    best, upper = literal(values.tolist(), alpha, g)
    found = best_set(values, alpha=alpha, scale=scale)
    assert found.best == best
    np.testing.assert_allclose(found.upper, upper, atol=1e-12)
    assert found.member.tolist() == [u >= 0 for u in upper]
    # What the limits are for: in at least 1 - alpha of the draws every difference lies below its limit.
    gv = np.vectorize(g)(values)
    inside = (gv - gv[:, [best]] <= found.upper + 1e-12).all(axis=1).mean()
    assert inside >= 1 - alpha


def test_a_single_regime_is_the_best():
    found = best_set(np.random.default_rng(0).normal(size=(30, 1)))
    assert (found.best, found.upper.tolist(), found.member.tolist()) == (0, [0.0], [True])


# ---- binary SMART ----------------------------------------------------------------------------------------

# Exact means and SDs; P(best) to .001 and limits to .01 from 2e6 draws of an independent program.
REGIMES = [("+1", "+1"), ("+1", "-1"), ("-1", "+1"), ("-1", "-1")]
MEANS = (0.23499396, 0.20949744, 0.54246795, 0.57436899)
SDS = (0.04473282, 0.04012072, 0.05626211, 0.05169049)
P_BEST = (0, 0, 0.3132, 0.6868)
LIMITS = (-0.832, -0.990, 0.418, 0)


def beta_moments(n, y):
    """First and second moment of Beta(1 + y, 1 + n - y)."""
    a, b = 1 + y, 1 + n - y
    return a / (a + b), a * (a + 1) / ((a + b) * (a + b + 1))


def closed_form(a1, a2):
    """Mean and SD of ``P m1 + (1 - P) m0`` with three independent Beta variables."""
    n = sum(COUNTS[c][0] for c in COUNTS if c[0] == a1)
    p, p2 = beta_moments(n, COUNTS[a1, 1, "continue"][0])
    m1, m12 = beta_moments(*COUNTS[a1, 1, "continue"])
    m0, m02 = beta_moments(*COUNTS[a1, 0, a2])
    mean = p * m1 + (1 - p) * m0
    square = p2 * m12 + 2 * (p - p2) * m1 * m0 + (1 - 2 * p + p2) * m02
    return mean, math.sqrt(square - mean**2)


@pytest.fixture(scope="module")
def smart():
    return fit(SMART, smart_frame(), seed=3, engine="exact", draws=DRAWS)


def test_closed_form_is_the_reference():
    for (a1, a2), mean, sd in zip(REGIMES, MEANS, SDS, strict=True):
        assert closed_form(a1, a2) == pytest.approx((mean, sd), abs=1e-6)


def test_binary_smart_draws(smart):
    table = compare(smart)
    assert table.scale == "log-odds"
    drawn = table.draws["value"].values.reshape(-1, 4)
    assert len(drawn) == DRAWS
    for e, (a1, a2) in enumerate(REGIMES):
        row, (mean, sd) = table.rows[e], closed_form(a1, a2)
        assert row.rules.label.startswith(a1) and a2 in row.rules.label.split(";")[1]
        kurtosis = ((drawn[:, e] - mean) ** 4).mean() / sd**4
        assert abs(row.value.mean - mean) < 4 * sd / math.sqrt(DRAWS)
        assert abs(row.value.sd - sd) < 4 * sd * math.sqrt((kurtosis - 1) / 4 / DRAWS)
        # The reference's own Monte Carlo error is its printed +-.001.
        assert abs(row.p_best - P_BEST[e]) < 4 * math.sqrt(row.p_best * (1 - row.p_best) / DRAWS) + 1e-3
        assert row.upper_limit == pytest.approx(LIMITS[e], abs=0.01)
    assert [row.in_best_set for row in table.rows] == [False, False, True, True]
    # Batch means report the error that independent draws have: 20 batches give it to about 16 %.
    assert table.rows[0].value.mcse == pytest.approx(SDS[0] / math.sqrt(DRAWS), rel=0.7)


def test_binary_smart_rule(smart):
    regime = optimize(smart)
    rows = pd.DataFrame([{"a1": a, "responded": 0} for a in ("+1", "-1")])
    expected = {cell: beta_moments(*COUNTS[cell])[0] for cell in COUNTS}
    for a1, answer in zip(("+1", "-1"), regime.recommend(rows).itertuples(), strict=True):
        best = max(("+1", "-1"), key=lambda a2, a1=a1: expected[a1, 0, a2])
        assert answer.option == best
        sd = 0.12  # the widest cell has 16 patients: SD of Beta(7, 11) is .112
        assert abs(answer.expected_utility - expected[a1, 0, best]) < 4 * sd / math.sqrt(DRAWS)


def test_p_best_regimes_are_a_partition(smart):
    assert sum(row.p_best for row in compare(smart).rows) == pytest.approx(1, abs=1e-12)
