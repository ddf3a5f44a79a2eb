"""CODIACS: the exact engine against published and recomputed numbers, NUTS against quadrature under its own priors.

Reference numbers: recomputed for this project by independent code from the published cells (Cheung,
Chakraborty & Davidson, Biometrics 2015;71:450); P(best) from 2e6 draws.
"""

import dataclasses
import math

import arviz_stats as azs
import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr
from scipy.stats import beta as beta_law

from bayesdtr import Response, Saturated, Study, compare, fit, optimize
from bayesdtr.gallery import codiacs

DRAWS = 200_000
# (first; second if not improved, if improved): mean, SD, P(best)
EIGHT = {
    "000": (6.262241, 1.156823, 0.0000), "001": (3.326897, 1.727209, 0.0000),
    "010": (10.693966, 2.437984, 0.0932), "011": (7.758621, 2.833681, 0.0046),
    "100": (15.425926, 3.100099, 0.7120), "101": (9.456553, 1.599928, 0.0045),
    "110": (14.202729, 2.916597, 0.1848), "111": (8.233356, 1.090951, 0.0008),
}
SWITCH_BETTER = {(0, 0): 0.96752, (0, 1): 0.04386, (1, 0): 0.21708, (1, 1): 0.01291}
STARTS_BEST, COMMITTED_BEST, CEILING = 0.902, 0.887, 15.803
FIRST, SECOND = ("medication", "therapy"), ("stay", "switch")
CELLS = [(a, r) for a in (0, 1) for r in (0, 1)]


def declared_exactly() -> Study:
    """The gallery's study without its priors: the reference prior 1/sigma^2 of the published analysis."""
    nodes = [Response(n.name, n.family, model=Saturated()) if isinstance(n, Response) else n for n in codiacs.study.timeline]
    return Study(*nodes, utility=codiacs.study.utility, reference=codiacs.study.reference)


@pytest.fixture(scope="module")
def exact():
    return fit(declared_exactly(), codiacs.patients(), seed=1, engine="exact", draws=DRAWS)


@pytest.fixture(scope="module")
def sampled():
    return fit(codiacs.study, codiacs.patients(), seed=2)


def by_code(table):
    """Rows and draws of a comparison by ``first, second if not improved, if improved`` in 0/1."""
    values = table.draws["value"]
    found = {}
    for e, row in enumerate(table.rows):
        text = row.rules.label
        start = next(i for i, o in enumerate(FIRST) if text.startswith(o))
        rest = text.split(";")[1]
        if " if " in rest:
            parts = dict(reversed(part.strip().split(" if improved = ")) for part in rest.split(","))
            codes = [SECOND.index(parts[r]) for r in "01"]
        else:
            codes = [SECOND.index(rest.strip())] * 2
        found[f"{start}{codes[0]}{codes[1]}"] = (row, values.isel(regime=e))
    return found


def test_eight_regimes_exactly(exact):
    found = by_code(compare(exact))
    assert set(found) == set(EIGHT)
    for code, (mean, sd, p) in EIGHT.items():
        row, draws = found[code]
        flat = draws.values.ravel()
        kurtosis = ((flat - mean) ** 4).mean() / sd**4
        assert abs(row.value.mean - mean) < 4 * sd / math.sqrt(DRAWS)
        assert abs(row.value.sd - sd) < 4 * sd * math.sqrt(max(kurtosis - 1, 2) / 4 / DRAWS)
        # Both numbers are Monte Carlo, ours and the reference's 2e6 draws; .00005 is the rounding of four decimals.
        assert abs(row.p_best - p) < 4 * math.sqrt(max(p, 1e-4) * (1 - p) * (1 / DRAWS + 1 / 2e6)) + 5e-5


def test_second_decision_exactly(exact):
    rows = pd.DataFrame([{"first": FIRST[a], "improved": r} for a, r in CELLS])
    every = optimize(exact).recommend(rows, every_option=True)
    for line in every[every["option"] == "switch"].itertuples():
        p = SWITCH_BETTER[CELLS[int(line.patient) - 1]]
        assert abs(line.p_best - p) < 4 * math.sqrt(p * (1 - p) / DRAWS) + 5e-6  # printed with five decimals


def test_first_decision_and_the_three_values(exact):
    regime = optimize(exact)
    line = regime.recommend(pd.DataFrame({"row": [0]}), every_option=True).set_index("option").loc["therapy"]
    assert line["recommended"]
    for found, p in ((line["p_starts_best"], STARTS_BEST), (line["p_best"], COMMITTED_BEST)):
        assert abs(found - p) < 4 * math.sqrt(p * (1 - p) / DRAWS) + 5e-4  # printed with three decimals
    mean, sd, _ = EIGHT["100"]
    assert abs(regime.value().mean - mean) < 4 * sd / math.sqrt(DRAWS)
    # E max is a ceiling, shown as regret only: 15.80 against 15.43.
    assert abs(line["regret"] - (CEILING - mean)) < 4 * sd / math.sqrt(DRAWS) + 5e-4
    assert regime.rules() == [
        "first: therapy", "second: if first = medication and improved = 0, switch", "second: if first = medication and improved = 1, stay",
        "second: if first = therapy, stay",
    ]


def test_published_file_gives_the_same_answers(exact, shared_data):
    """The rebuilt frame shares the cells' sizes, means and variances, so the posterior is the same, draw by draw."""
    real = pd.read_csv(shared_data / "codiacs.csv")
    frame = pd.DataFrame({
        "first": np.array(FIRST)[real["A1"]], "improved": real["O2"], "second": np.array(SECOND)[real["A2"]], "bdi_drop": real["Y"].astype(float)})
    again = fit(declared_exactly(), frame, seed=1, engine="exact", draws=4000)
    mine = fit(declared_exactly(), codiacs.patients(), seed=1, engine="exact", draws=4000)
    for name in mine.tree["posterior"].data_vars:
        np.testing.assert_allclose(again.tree["posterior"][name], mine.tree["posterior"][name], rtol=1e-9, atol=1e-9)
    assert [r.rules for r in compare(again).rows] == [r.rules for r in compare(mine).rows]
    assert again.verdict.positivity == mine.verdict.positivity


# ---- NUTS under the gallery's priors, against quadrature ------------------------------------------------------


def quadrature():
    """Posterior under Normal(0, 100), HalfCauchy(50), Beta(1, 1): Normal means given sigma, sigma on a grid.

    Returns a function from weights over the eight cells to mean and variance of the weighted sum's
    conditional moments, and P(switch better) per cell.
    """
    facts = [codiacs.CELLS[FIRST[a], r, SECOND[b]] for a in (0, 1) for r in (0, 1) for b in (0, 1)]
    n, total, squares = (np.array(x, dtype=float) for x in zip(*facts, strict=True))
    mean, within = total / n, float((squares - total**2 / n).sum())
    sigma = np.linspace(4, 12, 8001)[:, None]  # the residual SD is 6.7 +- .5: the grid's ends carry no mass
    logp = -np.log1p((sigma / 50) ** 2) - (n.sum() - 8) * np.log(sigma) - within / (2 * sigma**2)
    spread = 100.0**2 + sigma**2 / n
    logp = (logp - 0.5 * (np.log(spread) + mean**2 / spread).sum(axis=1, keepdims=True))[:, 0]
    w = np.exp(logp - logp.max())
    w /= w.sum()
    assert w[0] < 1e-6 * w.max() and w[-1] < 1e-6 * w.max()
    variance = 1 / (1 / 100.0**2 + n / sigma**2)
    centre = variance * n * mean / sigma**2
    return w, centre.reshape(-1, 2, 2, 2), variance.reshape(-1, 2, 2, 2)


def eight_by_quadrature():
    w, m, v = quadrature()
    found = {}
    for a in (0, 1):
        sizes = {r: sum(codiacs.CELLS[FIRST[a], r, o][0] for o in SECOND) for r in (0, 1)}
        law = beta_law(1 + sizes[1], 1 + sizes[0])
        p, p2 = law.mean(), law.var() + law.mean() ** 2
        for b0 in (0, 1):
            for b1 in (0, 1):
                m0, m1, v0, v1 = m[:, a, 0, b0], m[:, a, 1, b1], v[:, a, 0, b0], v[:, a, 1, b1]
                first = (w * (p * m1 + (1 - p) * m0)).sum()
                square = (w * (p2 * (m1**2 + v1) + (1 - 2 * p + p2) * (m0**2 + v0) + 2 * (p - p2) * m0 * m1)).sum()
                found[f"{a}{b0}{b1}"] = (first, math.sqrt(square - first**2))
    return found


def test_quadrature_is_near_the_published_prior():
    """A check of the checker: the two priors differ by shrinkage of .4 % at most in the cells of two (sd/100 squared)."""
    for code, (mean, sd) in eight_by_quadrature().items():
        assert mean == pytest.approx(EIGHT[code][0], rel=0.005)
        assert sd == pytest.approx(EIGHT[code][1], rel=0.02)


def test_nuts_against_quadrature(sampled):
    assert sampled.verdict.convergence.rhat < 1.01 and sampled.verdict.convergence.divergences == 0
    found = by_code(compare(sampled))
    z = []
    for code, (mean, sd) in eight_by_quadrature().items():
        row, draws = found[code]
        z.append((row.value.mean - mean) / float(azs.mcse(draws, method="mean")))
        z.append((row.value.sd - sd) / float(azs.mcse(draws, method="sd")))
    assert np.abs(z).max() < 4, z


def test_nuts_cell_probabilities(sampled):
    w, m, v = quadrature()
    mean = sampled.tree["posterior"]["bdi_drop::mean"]
    rows = pd.DataFrame([{"first": FIRST[a], "improved": r} for a, r in CELLS])
    every = optimize(sampled).recommend(rows, every_option=True)
    shown = every[every["option"] == "switch"]["p_best"].to_numpy()
    for i, (a, r) in enumerate(CELLS):
        exact = float((w * ndtr((m[:, a, r, 1] - m[:, a, r, 0]) / np.sqrt(v[:, a, r, 1] + v[:, a, r, 0]))).sum())
        stay, switch = (mean.sel({"bdi_drop::cell": f"{FIRST[a]}, {r}, {b}"}, drop=True) for b in SECOND)
        better = switch > stay
        assert shown[i] == pytest.approx(float(better.mean()), abs=1e-12)
        assert abs(shown[i] - exact) < 4 * float(azs.mcse(better.astype(float), method="mean"))


@pytest.mark.parametrize("which", ["exact", "sampled"])
def test_verdict_names_the_two_cells_of_two(which, request):
    verdict = request.getfixturevalue(which).verdict
    assert verdict.status == "warn"
    sparse = [r for r in verdict.reasons if "2 patients" in r]
    assert len(sparse) == 2
    assert "'switch'" in sparse[0] and "first = medication, improved = 0" in sparse[0]
    assert "'stay'" in sparse[1] and "first = therapy, improved = 1" in sparse[1]
    assert any("not randomi" in r for r in verdict.reasons)


def test_headline_leans_on_a_cell_of_two(exact):
    """The committed regime's second step after improvement on therapy was taken by two patients, and the cell says so."""
    (cell,) = [c for c in optimize(exact).cells() if dict(c.history) == {"first": "therapy", "improved": "1"}]
    assert cell.option == "stay"
    assert next(o.patients for o in cell.options if o.option == "stay") == 2
    assert dataclasses.asdict(cell)["patients"] == 28
