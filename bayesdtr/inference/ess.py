"""How many patients a prior is worth: its information beside that of one patient.

For an address with a density the expected local information ratio is used (Neuenschwander et al.
2020): the prior's information ``-(log p)''`` over one patient's, averaged over the prior. It is
``sigma^2 / s^2`` for a Normal prior on a Normal mean, ``a + b`` for a Beta prior on a probability
(taken on the log-odds scale, where the ratio exists for every ``a`` and ``b``), and is never negative
for the conjugate cases. A coefficient whose scale is itself uncertain has no finite expected
information at zero, so there the ratio of variances to that of one patient is used.
"""

from collections.abc import Callable

import numpy as np

from ..errors import InferenceError
from ..study.borrowing import Commensurate, RobustMAP
from ..study.priors import SCALED, UNRESTRICTED, Prior, PriorInForce

POINTS = 400
LATENT = 200
Normals = tuple[np.ndarray, np.ndarray, np.ndarray]


def midpoints(n: int) -> np.ndarray:
    """Equally likely probabilities."""
    return (np.arange(n) + 0.5) / n


def frozen(prior: Prior):
    """A prior as a frozen SciPy distribution.

    Raises
    ------
    InferenceError
        For a distribution over several numbers.
    """
    from scipy import stats  # its import takes as long as JAX's

    a = dict(prior.parameters)
    table: dict[str, Callable[[], object]] = {
        "Normal": lambda: stats.norm(a["loc"], a["scale"]), "StudentT": lambda: stats.t(a["df"], a["loc"], a["scale"]),
        "Cauchy": lambda: stats.cauchy(a["loc"], a["scale"]), "HalfNormal": lambda: stats.halfnorm(scale=a["scale"]),
        "HalfCauchy": lambda: stats.halfcauchy(scale=a["scale"]), "LogNormal": lambda: stats.lognorm(a["scale"], scale=np.exp(a["loc"])),
        "Exponential": lambda: stats.expon(scale=1 / a["rate"]), "Gamma": lambda: stats.gamma(a["concentration"], scale=1 / a["rate"]),
        "InverseGamma": lambda: stats.invgamma(a["concentration"], scale=a["rate"]),
        "Beta": lambda: stats.beta(a["concentration1"], a["concentration0"]), "Uniform": lambda: stats.uniform(a["low"], a["high"] - a["low"]),
    }
    if prior.distribution not in table:
        raise InferenceError(f"priors: no density of one number is known for {prior.distribution!r}.")
    return table[prior.distribution]()


def in_units(row: PriorInForce, location: float | None, sd: float | None) -> "Prior | RobustMAP | Commensurate | None":
    """The prior with its numbers on the response's own scale; None where they are in an SD that is not known."""
    if not isinstance(row.prior, Prior):
        return row.prior
    numbers = dict(row.prior.parameters)
    if row.sd_units:
        if sd is None:
            return None
        numbers = {n: v * sd if n in SCALED else v for n, v in numbers.items()}
    if row.around:
        if location is None:
            return None
        center = np.log(max(location, 1e-8)) if row.around == "log mean" else location
        numbers = {n: v + center if n in UNRESTRICTED else v for n, v in numbers.items()}
    return Prior(row.prior.distribution, reason=row.prior.reason, **numbers)


def normals_of(prior: RobustMAP | Commensurate) -> Normals:
    """A borrowed prior as a mixture of Normals: weights, means, SDs."""
    if isinstance(prior, RobustMAP):
        weight, mean, sd = np.array(prior.components).T
        return weight, mean, sd
    between = frozen(prior.between).ppf(midpoints(LATENT))
    return np.full(LATENT, 1 / LATENT), np.full(LATENT, prior.estimate), np.sqrt(prior.se**2 + between**2)


def _information_of_normals(mixture: Normals) -> float:
    """``E[-(log p)'']`` of a mixture of Normals."""
    from scipy.special import ndtri

    weight, mean, sd = mixture
    x = mean[:, None] + sd[:, None] * ndtri(midpoints(POINTS))
    total = 0.0
    for w, points in zip(weight, x, strict=True):
        log = np.log(weight) - np.log(sd) - 0.5 * ((points[:, None] - mean) / sd) ** 2
        share = np.exp(log - log.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        score = (mean - points[:, None]) / sd**2
        first = (share * score).sum(axis=1)
        local = (share / sd**2).sum(axis=1) - (share * (score - first[:, None]) ** 2).sum(axis=1)
        total += w * local.mean()
    return float(total)


def information(prior: "Prior | RobustMAP | Commensurate") -> float | None:
    """Expected information of a prior about its own number; None where it has none that is finite (Uniform: 0)."""
    if isinstance(prior, (RobustMAP, Commensurate)):
        return None if isinstance(prior, RobustMAP) and prior.of_probability else _information_of_normals(normals_of(prior))
    a = dict(prior.parameters)
    if prior.distribution == "Normal":
        return a["scale"] ** -2
    if prior.distribution == "StudentT":
        return (a["df"] + 1) / ((a["df"] + 3) * a["scale"] ** 2)
    if prior.distribution == "Cauchy":
        return 0.5 * a["scale"] ** -2
    return 0.0 if prior.distribution == "Uniform" else None


def ess_of_log_odds(prior: Prior) -> float | None:
    """Yes/no patients that a prior of a log-odds is worth: its information over ``p (1 - p)``, averaged over the prior."""
    if prior.distribution != "Normal":
        return None
    a = dict(prior.parameters)
    # E[1 / (p (1 - p))] = 2 + 2 E[cosh], in closed form for a Normal.
    return float((2 + 2 * np.exp(a["scale"] ** 2 / 2) * np.cosh(a["loc"])) / a["scale"] ** 2)


def ess_of_probability(prior: Prior | RobustMAP) -> float:
    """Patients that a prior of a probability is worth: ``a + b`` for a Beta; averaged over the prior for a mixture of Betas."""
    if isinstance(prior, Prior):
        return prior["concentration1"] + prior["concentration0"]
    from scipy import stats

    weight, a, b = np.array(prior.components).T
    total = 0.0
    for w, alpha, beta in zip(weight, a, b, strict=True):
        p = np.clip(stats.beta(alpha, beta).ppf(midpoints(POINTS)), 1e-12, 1 - 1e-12)
        share = np.exp(log_shares(prior, p))
        score = a - (a + b) * p[:, None]
        spread = (share * score**2).sum(axis=1) - (share * score).sum(axis=1) ** 2
        total += w * float(((share * (a + b)).sum(axis=1) - spread / (p * (1 - p))).mean())
    return total


def log_shares(prior: RobustMAP, values: np.ndarray) -> np.ndarray:
    """Log probability that each component is the one a value came from, shape (value, component)."""
    from scipy import stats

    weight, first, second = np.array(prior.components).T
    law = stats.beta if prior.of_probability else stats.norm
    log = np.log(weight) + law.logpdf(np.asarray(values)[:, None], first, second)
    top = log.max(axis=1, keepdims=True)
    return log - top - np.log(np.exp(log - top).sum(axis=1, keepdims=True))


def spread(prior: "Prior | RobustMAP | Commensurate") -> tuple[float, float]:
    """Mean and SD of a prior; NaN or infinite where it has none."""
    if isinstance(prior, Prior):
        law = frozen(prior)
        return float(law.mean()), float(law.std())
    if isinstance(prior, RobustMAP) and prior.of_probability:
        weight, a, b = np.array(prior.components).T
        mean, sd = a / (a + b), np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
    else:
        weight, mean, sd = normals_of(prior)
    center = float(weight @ mean)
    return center, float(np.sqrt(weight @ (sd**2 + (mean - center) ** 2)))


def second_moment(prior: Prior) -> float:
    """Mean of a scale's square: the variance of a coefficient that is Normal given it."""
    law = frozen(prior)
    return float(law.var() + law.mean() ** 2)
