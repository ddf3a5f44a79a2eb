"""Distributions of responses by inverse cdf: one uniform number a response, larger numbers give larger responses."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats as st
from scipy.special import expit, gammaln, logit, ndtri

from ...errors import TrialError, did_you_mean, listing
from ...study import families as f
from ...study.counts import Hurdle, NegativeBinomial, Poisson, ZeroInflated
from ...study.families import Family
from ...study.survival import Survival
from .laws import EXTRAS

Extras = Mapping[str, np.ndarray]


def needs(family: Family, response: str) -> tuple[str, ...]:
    """What a law must say beside the mean; raises `TrialError` for families that no scenario draws."""
    where = f"Scenario: {response!r}"
    if family.columns:
        role, column, _ = family.columns[0]
        raise TrialError(f"{where} needs column {column!r} ({role}) beside it, which simulated patients do not have; "
                         f"declare {family.name} without {role}=.")
    if isinstance(family, (ZeroInflated, Hurdle)):
        if isinstance(family, Hurdle) and not isinstance(family.base, f.LogNormal):
            raise TrialError(f"{where}: scenarios do not draw counts truncated at zero; declare ZeroInflated({family.base.name}()) instead.")
        return (*needs(family.base, response), "zero")
    if isinstance(family, Survival) and family.distribution == "piecewise":
        raise TrialError(f"{where}: scenarios draw Survival('weibull') and Survival('lognormal'), not piecewise hazards.")
    table = {f.Normal: ("sd",), f.StudentT: ("sd", "df"), f.LogNormal: ("log_sd",), f.Bernoulli: (), f.BetaBinomial: ("concentration",),
             f.Ordinal: (), f.Categorical: (), Poisson: (), NegativeBinomial: ("dispersion",)}
    if isinstance(family, Survival):
        return ("shape",) if family.distribution == "weibull" else ("log_sd",)
    for kind, extras in table.items():
        if isinstance(family, kind):
            return extras
    raise TrialError(f"{where}: scenarios do not draw {family.name} responses.")


def check_extras(family: Family, given: tuple[str, ...], response: str) -> None:
    """Raise `TrialError` where a law says too little or too much for a family."""
    wanted = needs(family, response)
    for name in wanted:
        if name not in given:
            raise TrialError(f"Scenario: the truth of {response!r} ({family.name}) lacks {name}; write Law(mean, {name}=...).")
    for name in given:
        if name not in wanted:
            raise TrialError(f"Scenario: the truth of {response!r} ({family.name}) has no {name}; beside the mean it takes "
                             f"{listing(wanted) or 'nothing'}"
                             f"{did_you_mean(name, wanted)}")


def check_mean(family: Family, mean: np.ndarray, what: str) -> None:
    """Raise `TrialError` where a mean is impossible in a family; NaN stands for histories that cannot arise."""
    mean = mean[~np.isnan(mean)] if family.levels is None else mean[~np.isnan(mean).any(axis=-1)]
    if family.levels is not None:
        total = mean.sum(axis=-1)
        if (mean < 0).any() or (mean > 1).any() or (np.abs(total - 1) > 1e-9).any():
            bad = mean[((mean < 0) | (mean > 1)).any(axis=-1) | (np.abs(total - 1) > 1e-9)][0]
            raise TrialError(f"{what}: the probabilities of the levels lie between 0 and 1 and add up to 1, got {bad.tolist()}.")
        return
    low, high, said = -np.inf, np.inf, ""
    if isinstance(family, f.Bernoulli):
        low, high, said = 0.0, 1.0, "a probability strictly between 0 and 1"
    elif isinstance(family, f.BetaBinomial):
        low, high, said = 0.0, float(family.n), f"a mean strictly between 0 and {family.n}"
    elif family.link != "identity":
        low, said = 0.0, "a mean above 0"
    bad = mean[~((mean > low) & (mean < high))]
    if bad.size:
        raise TrialError(f"{what} must be {said or 'a finite mean'}, got {bad.flat[0]:g}.")


def check_extra(name: str, values: np.ndarray, what: str) -> None:
    """Raise `TrialError` where what a law says beside the mean is impossible."""
    assert name in EXTRAS
    values = values[~np.isnan(values)]
    low, high = (2.0, np.inf) if name == "df" else (0.0, 1.0) if name == "zero" else (0.0, np.inf)
    bad = values[~((values > low) & (values < high))]
    if bad.size:
        said = f"between {low:g} and {high:g}" if np.isfinite(high) else f"above {low:g}"
        raise TrialError(f"{what}: {name} must be {said}, got {bad.flat[0]:g}.")


def moved(family: Family, mean: np.ndarray, shift: np.ndarray | float) -> np.ndarray:
    """The mean after a shift of the linear predictor: identity, logit or log, as the family has it; cumulative logits of an ordinal response."""
    if isinstance(family, f.Ordinal):
        below = np.cumsum(mean[..., :-1], axis=-1)
        with np.errstate(divide="ignore"):
            after = expit(logit(np.clip(below, 0.0, 1.0)) - np.asarray(shift)[..., None])
        return np.diff(after, axis=-1, prepend=0.0, append=1.0)
    if isinstance(family, f.Bernoulli):
        return expit(logit(mean) + shift)
    if isinstance(family, f.BetaBinomial):
        return family.n * expit(logit(mean / family.n) + shift)
    return mean + shift if family.link == "identity" else mean * np.exp(shift)


def quantile(family: Family, u: np.ndarray, mean: np.ndarray, extras: Extras) -> np.ndarray:
    """Responses at probabilities, shape (m,): numbers, or codes of labels.

    Parameters
    ----------
    family : Family
    u : array, shape (m,)
    mean : array, shape (m,) or (m, level)
    extras : mapping of str to array, shape (m,)
    """
    if isinstance(family, f.Bernoulli):
        return (u >= 1 - mean).astype(float)
    if isinstance(family, f.Normal):
        return mean + extras["sd"] * ndtri(u)
    if family.levels is not None:
        return (u[:, None] >= np.cumsum(mean[:, :-1], axis=1)).sum(axis=1).astype(float)
    if isinstance(family, (ZeroInflated, Hurdle)):
        zero = extras["zero"]
        inside = np.clip((u - zero) / (1 - zero), 1e-300, 1.0)
        return np.where(u < zero, 0.0, quantile(family.base, inside, mean / (1 - zero), extras))
    return _rest(family, u, mean, extras)


def _rest(family: Any, u: np.ndarray, mean: np.ndarray, extras: Extras) -> np.ndarray:
    if isinstance(family, f.StudentT):
        df = extras["df"]
        return mean + extras["sd"] * np.sqrt((df - 2) / df) * st.t.ppf(u, df)
    if isinstance(family, f.LogNormal) or (isinstance(family, Survival) and family.distribution == "lognormal"):
        sd = extras["log_sd"]
        return mean * np.exp(sd * ndtri(u) - sd**2 / 2)
    if isinstance(family, Survival):
        shape = extras["shape"]
        return mean * np.exp(np.log(-np.log1p(-u)) / shape - gammaln(1 + 1 / shape))
    if isinstance(family, Poisson):
        return st.poisson.ppf(u, mean)
    if isinstance(family, NegativeBinomial):
        size = 1 / extras["dispersion"] ** 2
        return st.nbinom.ppf(u, size, size / (size + mean))
    return (u[:, None] >= np.cumsum(pmf(family, mean, extras)[:, :-1], axis=1)).sum(axis=1).astype(float)


def pmf(family: Family, mean: np.ndarray, extras: Extras) -> np.ndarray:
    """Probabilities of a response with finitely many values, shape (m, value)."""
    if family.levels is not None:
        return mean
    if isinstance(family, f.Bernoulli):
        return np.stack([1 - mean, mean], axis=-1)
    assert isinstance(family, f.BetaBinomial)
    p, c, k = (mean / family.n)[:, None], extras["concentration"][:, None], np.arange(family.n + 1)
    return st.betabinom.pmf(k, family.n, p * c, (1 - p) * c)
