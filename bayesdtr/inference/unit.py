"""What one patient tells about each coefficient: before data by convention, after a fit as observed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ..kept import Kept
from ..model import CompiledResponse
from ..runtime import in_double_precision
from ..study.families import Bernoulli, Family, Normal, StudentT
from ..study.models import Saturated
from ..study.predictor import Column, Contrast, default_predictor
from ..study.study import Study
from ..study.timeline import Response
from .fit import inputs_of
from .posterior import Posterior

Key = tuple[str, str | None]
"""Name of a coefficient vector and label of the element; None for a scalar."""

COEFFICIENTS = ("intercept", "beta", "treatment", "interaction", "combination")

CONVENTION = (
    "One patient, before any data: the residual SD is that of the response, covariates have SD 1, options are equally frequent, and a "
    "probability is 1/2 (for an intercept: averaged over the prior)."
)
OBSERVED = "One patient, after the fit: the observed information at the posterior mean, averaged over the patients with the response."


def conventional(study: Study, response: Response, sd: float | None) -> dict[Key, float]:
    """Information of one patient before data; empty for families where it depends on what is to be estimated.

    Parameters
    ----------
    study : Study
    response : Response
    sd : float, optional
        The response's SD; None to count in that unit.

    Returns
    -------
    dict
        Per coefficient, on the linear predictor's scale.
    """
    family = response.family
    if isinstance(family, Normal):
        one = (sd or 1.0) ** -2
    elif isinstance(family, StudentT):
        return {}
    elif isinstance(family, Bernoulli):
        one = 0.25
    else:
        return {}
    if isinstance(response.model, Saturated):
        return {("mean", None): one}
    predictor = default_predictor(study, response)
    found: dict[Key, float] = {("intercept", None): one}
    for name, columns in (("beta", predictor.main), ("treatment", predictor.treatment), ("interaction", predictor.interaction),
                          ("combination", predictor.combination)):
        found |= {(name, c.label): one * _mean_square(c) for c in columns}
    return found


def _mean_square(column: Column) -> float:
    """Mean of a column's square: 1 for a standardised covariate, one over the number of options for an orthonormal contrast."""
    return float(np.prod([1 / len(f.options) if isinstance(f, Contrast) else 1.0 for f in column.factors]))


def plain(family: Family | None) -> bool:
    """Whether a response's law is all that its patients tell: no columns but an exposure, such as those of censoring."""
    return family is not None and all(role == "exposure" for role, *_ in family.columns)


@functools.lru_cache(maxsize=64)
def _curvature(compiled: CompiledResponse, names: tuple[str, ...]) -> Kept:
    """From a point, inputs and outcomes to the negative second derivatives of the log likelihood in each element of `names`."""

    def run(center, rows, y):
        from ..model.distributions import log_prob

        def own(name):
            def log_likelihood(flat):
                value = flat.reshape(center[name].shape)
                return log_prob(compiled.predict({**center, name: value}, rows), y[None, :]).sum()

            flat = center[name].ravel()
            return -jnp.diagonal(jax.hessian(log_likelihood)(flat)).reshape(center[name].shape)

        return {name: own(name) for name in names}

    return Kept(run, compiled.address, "curvature", *names)


@in_double_precision
def observed(posterior: Posterior, response: Response) -> dict[Key, float]:
    """Observed information of one patient at the posterior mean, per coefficient.

    Returns
    -------
    dict
        Per coefficient of a model with linear predictors, the average over the patients with the
        response; the residual one per cell for saturated cells of a Normal response.
    """
    compiled = posterior.compiled(response.name)
    drawn = posterior.draws(response.name)
    if isinstance(response.model, Saturated):
        return {("mean", None): float((drawn["sigma"] ** -2).mean())} if "sigma" in drawn else {}
    if compiled.linear is None or not plain(response.family):
        return {}
    seen = posterior.trajectories.observed(response.name)
    inputs = inputs_of(compiled, posterior.trajectories, dict(posterior.scales))
    rows = {n: v[seen] if n in compiled.by_row else v for n, v in inputs.items()}
    y = np.asarray(posterior.trajectories.columns[response.name][seen], dtype=float)
    center = {n: np.asarray(v.mean(axis=0), dtype=float) for n, v in drawn.items()}
    names = tuple(n for n in compiled.parameters if n.removeprefix("zero_").split(".")[0] in COEFFICIENTS)
    curvature = {n: np.asarray(v) for n, v in _curvature(compiled, names)(center, rows, y).items()}

    found: dict[Key, float] = {}
    for name in names:
        value = center[name]
        information = curvature[name] / len(y)
        head, _, element = name.partition(".")
        if value.ndim == 0:
            found[head, element or None] = float(information)
            continue
        dims = compiled.dims.get(name, ())
        if dims and dims[0] == "category":
            found[head, None] = float(information.max())
            continue
        labels = compiled.coords[dims[0]]
        table = information.reshape(len(labels), -1).max(axis=1)
        found |= {(head, label): float(v) for label, v in zip(labels, table, strict=True)}
    return found
