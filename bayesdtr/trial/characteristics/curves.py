"""Probability of success over the size of a trial: probit regression on the root of the size, with errors that know of common random numbers."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from .estimates import WIDTH

ENOUGH = 1e-10
STEPS = 60
MISFIT = 0.01
"""Below this probability of so much lack of fit, the curve takes a further term, or its error is widened."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A fitted curve: probit of the probability, a polynomial in the root of the size.

    Attributes
    ----------
    sizes : array, shape (point,)
    observed, errors : array, shape (point,)
        Share of successes at each size, and its standard error.
    coefficients : array, shape (term,)
    covariance : array, shape (term, term)
        Sandwich over replicates; widened where the curve does not fit.
    residuals : array, shape (point,)
        Standardised: observed minus fitted, over its own standard error.
    chi_square, p_value : float
        Lack of fit; NaN where there are as many terms as points.
    widened : float
        Factor by which standard errors are widened for lack of fit.
    """

    sizes: np.ndarray
    observed: np.ndarray
    errors: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    residuals: np.ndarray
    chi_square: float
    p_value: float
    widened: float

    def at(self, sizes: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fitted probability with its 95 % band, each of the shape of `sizes`."""
        x = _terms(np.atleast_1d(np.asarray(sizes, float)), len(self.coefficients))
        middle, spread = x @ self.coefficients, np.sqrt(np.einsum("ij,jk,ik->i", x, self.covariance, x))
        return stats.norm.cdf(middle), stats.norm.cdf(middle - WIDTH * spread), stats.norm.cdf(middle + WIDTH * spread)

    def reaches(self, target: float) -> tuple[float, float, float]:
        """The smallest whole size within the simulated range at which the fitted curve is at the target, and those at which its upper and its lower
        band are; inf where none within the range is."""
        grid = np.arange(int(self.sizes.min()), int(self.sizes.max()) + 1)
        middle, lower, upper = self.at(grid)
        # From the right: where the curve is not monotone, all larger sizes in the range must do as well.
        return _first(grid, middle >= target), _first(grid, upper >= target), _first(grid, lower >= target)


def fit_curve(sizes: np.ndarray, success: np.ndarray) -> Curve:
    """Fit a curve to replicates at several sizes.

    Parameters
    ----------
    sizes : array, shape (point,)
    success : array of bool, shape (replicate, point)
        Replicates share their patients across sizes, so points are correlated.

    Notes
    -----
    Points are weighted as independent binomial counts; the covariance is the sandwich estimator with replicates as clusters, which is right whatever
    their correlation. A line in the root of the size is what a test of a Normal mean has; a quadratic takes its place where the line does not
    fit (p < 0.01) and there are at least four sizes. What misfit remains widens the errors by the root of chi-square per degree of freedom.
    """
    sizes, success = np.asarray(sizes, float), np.asarray(success, float)
    terms = 1 if len(sizes) == 1 else 2
    curve = _fit(sizes, success, terms)
    if curve.p_value < MISFIT and len(sizes) >= 4:
        curve = min((curve, _fit(sizes, success, 3)), key=lambda c: c.widened)
    return curve


def _terms(sizes: np.ndarray, count: int) -> np.ndarray:
    # Centred at no size in particular: the root of 100 keeps the columns of similar length.
    return np.stack([(np.sqrt(sizes) / 10) ** k for k in range(count)], axis=1)


def _first(grid: np.ndarray, there: np.ndarray) -> float:
    failing = np.flatnonzero(~there)
    start = failing[-1] + 1 if len(failing) else 0
    return float(grid[start]) if start < len(grid) else np.inf


def _fit(sizes: np.ndarray, success: np.ndarray, terms: int) -> Curve:
    n, x = len(success), _terms(sizes, terms)
    # Half a success and half a failure: the curve of a point that never fails is finite.
    share = (success.sum(axis=0) + 0.5) / (n + 1)
    beta = np.linalg.lstsq(x, stats.norm.ppf(share), rcond=None)[0]
    for _ in range(STEPS):
        p, density = _law(x @ beta)
        weight = density**2 / (p * (1 - p))
        step = np.linalg.solve((x * weight[:, None]).T @ x, x.T @ (density / (p * (1 - p)) * (share - p)))
        beta = beta + step
        if np.abs(step).max() < ENOUGH:
            break
    p, density = _law(x @ beta)
    bread = np.linalg.inv((x * (density**2 / (p * (1 - p)))[:, None]).T @ x)
    hat = bread @ (x * (density / (p * (1 - p)))[:, None]).T
    covariance = np.atleast_2d(np.cov(success, rowvar=False)) / n
    # Points without a single failure have no spread of their own: that of half a failure stands in.
    floor = share * (1 - share) / n
    covariance = covariance + np.diag(np.maximum(floor - np.diag(covariance), 0.0))
    errors = np.sqrt(np.diag(covariance))
    rest = np.eye(len(sizes)) - density[:, None] * (x @ hat)
    chi, p_value = _misfit(share - p, rest @ covariance @ rest.T, len(sizes) - terms)
    widened = 1.0 if not p_value < MISFIT else float(np.sqrt(chi / (len(sizes) - terms)))
    return Curve(sizes, success.mean(axis=0), errors, beta, hat @ covariance @ hat.T * max(widened, 1.0) ** 2, (share - p) / errors, chi, p_value,
                 max(widened, 1.0))


def _law(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = np.clip(stats.norm.cdf(z), 1e-12, 1 - 1e-12)
    return p, np.maximum(stats.norm.pdf(z), 1e-14)


def _misfit(residual: np.ndarray, covariance: np.ndarray, free: int) -> tuple[float, float]:
    if free < 1:
        return np.nan, np.nan
    values, vectors = np.linalg.eigh(covariance)
    largest = slice(len(values) - free, None)
    chi = float(((vectors[:, largest].T @ residual) ** 2 / values[largest]).sum())
    return chi, float(stats.chi2.sf(chi, free))
