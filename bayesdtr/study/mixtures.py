"""Numbers behind a meta-analytic-predictive prior: the predictive distribution by quadrature, and its fit by mixtures.

The predictive distribution is represented by equally likely quantiles, so that everything here is
deterministic; EM fits them, AIC chooses the number of components.
"""

from collections.abc import Callable, Sequence

import numpy as np

Pairs = Sequence[tuple[float, float]]
Component = tuple[float, float, float]

POINTS = 2000
"""Quantiles that stand for the predictive distribution; AIC counts them as observations."""
MOST = 4
STEPS = 500
WIDE = 6.0
"""Half-normal scales up to which the SD between trials is integrated."""


def _between_grid(scale: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Midpoints and log prior weights of the SD between trials; finer near zero."""
    edges = WIDE * scale * np.linspace(0, 1, count + 1) ** 2
    middle = (edges[1:] + edges[:-1]) / 2
    return middle, np.log(np.diff(edges)) - 0.5 * (middle / scale) ** 2


def _quantiles(means: np.ndarray, sds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Equally likely quantiles of a mixture of many Normals."""
    from scipy.special import ndtr

    low, high = (means - 9 * sds).min(), (means + 9 * sds).max()
    center = float(weights @ means)
    spread = float(np.sqrt(weights @ (sds**2 + (means - center) ** 2)))
    x = np.sort(np.concatenate([np.linspace(low, high, 600), center + spread * np.linspace(-6, 6, 1200)]))
    x = x[(x >= low) & (x <= high)]
    cumulative = np.concatenate([ndtr((part[:, None] - means) / sds) @ weights for part in np.array_split(x, 16)])
    return np.interp((np.arange(POINTS) + 0.5) / POINTS, cumulative, x)


def estimates_given_between(trials: Pairs, between: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The value of a new trial as a mixture over the SD between trials: means, SDs and weights, each ``(grid,)``."""
    y, se = np.array(trials, dtype=float).T
    tau, log_weight = _between_grid(between, 400)
    v = se**2 + tau[:, None] ** 2
    total = (1 / v).sum(axis=1)
    mean = (y / v).sum(axis=1) / total
    log_weight = log_weight - 0.5 * np.log(v).sum(axis=1) - 0.5 * np.log(total) - 0.5 * ((y - mean[:, None]) ** 2 / v).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    return mean, np.sqrt(1 / total + tau**2), weight / weight.sum()


def predictive_of_estimates(trials: Pairs, between: float) -> np.ndarray:
    """Quantiles of what earlier trials' estimates predict for a new trial, shape (point,)."""
    return _quantiles(*estimates_given_between(trials, between))


def predictive_of_counts(trials: Pairs, between: float) -> np.ndarray:
    """Quantiles of the probability that earlier trials' counts predict for a new trial, shape (point,)."""
    from scipy.special import expit, log_expit

    yes, n = np.array(trials, dtype=float).T
    tau, log_weight = _between_grid(between, 40)
    # The common mean has a Normal(0, 2) prior; the grid is dense where the trials' own log-odds lie.
    own = np.log((yes + 0.5) / (n - yes + 0.5))
    edges = np.linspace(min(own.min(), 0) - 8, max(own.max(), 0) + 8, 301)
    mu = (edges[1:] + edges[:-1]) / 2
    node, node_weight = np.polynomial.hermite_e.hermegauss(40)
    theta = mu[:, None, None] + tau[:, None] * node  # [mu, tau, node]
    log_joint = log_weight - 0.125 * mu[:, None] ** 2
    for successes, total in trials:
        log_likelihood = successes * log_expit(theta) + (total - successes) * log_expit(-theta)
        top = log_likelihood.max(axis=2, keepdims=True)
        log_joint = log_joint + top[..., 0] + np.log(np.exp(log_likelihood - top) @ node_weight)
    weight = np.exp(log_joint - log_joint.max())
    weight /= weight.sum()
    keep = weight > 1e-7 * weight.max()
    means, sds = np.broadcast_to(mu[:, None], weight.shape)[keep], np.broadcast_to(tau, weight.shape)[keep]
    # A spacing of the grid added to the SDs keeps narrow components smooth.
    step = float(edges[1] - edges[0])
    return np.clip(expit(_quantiles(means, np.sqrt(sds**2 + step**2 / 12), weight[keep] / weight[keep].sum())), 1e-9, 1 - 1e-9)


# ---- mixtures ------------------------------------------------------------------------------------------

Density = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Maximizer = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _log_normal(x: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    return -0.5 * ((x[:, None] - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)


def _log_beta(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    from scipy.special import betaln

    return (a - 1) * np.log(x)[:, None] + (b - 1) * np.log1p(-x)[:, None] - betaln(a, b)


def _normal_moments(x: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means and SDs, shape (component,)."""
    total = share.sum(axis=0)
    mean = share.T @ x / total
    return mean, np.sqrt((share * (x[:, None] - mean) ** 2).sum(axis=0) / total)


def _beta_newton(x: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted maximum likelihood of Betas, shape (component,), by Newton's method from the moments."""
    from scipy.special import polygamma, psi

    mean, sd = _normal_moments(x, share)
    size = np.maximum(mean * (1 - mean) / sd**2 - 1, 0.1)
    a, b = mean * size, (1 - mean) * size
    total = share.sum(axis=0)
    ga, gb = share.T @ np.log(x) / total, share.T @ np.log1p(-x) / total
    for _ in range(30):
        fa, fb = psi(a + b) - psi(a) + ga, psi(a + b) - psi(b) + gb
        shared = polygamma(1, a + b)
        haa, hbb = shared - polygamma(1, a), shared - polygamma(1, b)
        det = haa * hbb - shared**2
        da, db = (hbb * fa - shared * fb) / det, (haa * fb - shared * fa) / det
        a, b = np.where(a - da > 0, a - da, a / 2), np.where(b - db > 0, b - db, b / 2)
        if max(np.abs(da / a).max(), np.abs(db / b).max()) < 1e-10:
            break
    return a, b


def _em(x: np.ndarray, k: int, density: Density, maximize: Maximizer) -> tuple[float, list[Component]]:
    """Fit `k` components by EM from split quantiles of different spread; AIC and components."""
    order = np.argsort(np.abs(x - np.median(x)))
    share = np.zeros((x.size, k))
    for j, part in enumerate(np.array_split(order, k)):  # from the middle outwards: the predictive has one mode and heavy tails
        share[part, j] = 1
    share = 0.9 * share + 0.1 / k
    last = -np.inf
    total = last
    first = second = weight = np.empty(0)
    for _ in range(STEPS):
        weight = share.mean(axis=0)
        first, second = maximize(x, share)
        joint = density(x, first, second) + np.log(weight)
        top = joint.max(axis=1, keepdims=True)
        mixture = top + np.log(np.exp(joint - top).sum(axis=1, keepdims=True))
        total, share = float(mixture.sum()), np.exp(joint - mixture)
        if total - last < 1e-4:
            break
        last = total
    return 2 * (3 * k - 1) - 2 * total, [(float(w), float(a), float(b)) for w, a, b in zip(weight, first, second, strict=True)]


def _best(x: np.ndarray, density: Density, maximize: Maximizer) -> list[Component]:
    found = [_em(x, k, density, maximize) for k in range(1, MOST + 1)]
    return min((f for f in found if np.isfinite(f[0])), key=lambda f: f[0])[1]


def fit_normals(x: np.ndarray) -> list[Component]:
    """Weight, mean and SD of each component of the mixture of at most four Normals with the smallest AIC."""
    return _best(x, _log_normal, _normal_moments)


def fit_betas(x: np.ndarray) -> list[Component]:
    """Weight, a and b of each component of the mixture of at most four Betas with the smallest AIC."""
    return _best(x, _log_beta, _beta_newton)
