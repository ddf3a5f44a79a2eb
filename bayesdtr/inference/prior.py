"""Draws from the prior of every response's model: what is believed before any data."""

from collections.abc import Mapping

import numpy as np

from ..errors import InferenceError, listing
from ..schema import stored, variable
from ..study.models import Saturated
from ..study.timeline import Response
from . import exact
from .fit import apart, blocks_of, replicate
from .nuts import Block, sample
from .posterior import Posterior
from .stacked import StackedPosterior

OUTCOMES = 400


def prior_outcomes(posterior: Posterior, drawn: Mapping[str, Mapping[str, np.ndarray]], *, seed: int) -> dict[str, np.ndarray]:
    """Outcomes that the prior expects of each patient given the own history.

    Parameters
    ----------
    posterior : Posterior
    drawn : mapping
        From :func:`prior_draws`.
    seed : int

    Returns
    -------
    dict of str to array, shape (draw, patient)
        At most 400 draws of each response.
    """
    found = {}
    for name, parameters in drawn.items():
        size = max((len(v) for v in parameters.values()), default=1)
        some = {p: v[:: -(-size // OUTCOMES)] for p, v in parameters.items()}
        found[name] = replicate(posterior.compiled(name), some, posterior.completed(0), dict(posterior.scales), seed)
    return found


def _conjugate(posterior: Posterior, response: Response, size: int, seed: int) -> dict[str, np.ndarray]:
    """Draws from a conjugate prior: the posterior of no patients but borrowed ones."""
    improper = response.support is None and isinstance(response.model, Saturated) and response.model.conjugate is None
    if improper and not (posterior.borrowed and posterior.borrowed.a0[response.name]):
        raise InferenceError(f"The reference prior of {response.name!r} under engine='exact' is improper: nothing can be drawn from it.")
    return exact.draw(posterior.study, None, response, size=size, seed=seed, borrowed=posterior.borrowed, stream=6)


def prior_draws(posterior: Posterior, *, seed: int, draws: int = 1000, warmup: int = 1000, chains: int = 4) -> dict[str, dict[str, np.ndarray]]:
    """Draw every response's parameters from the prior that a posterior was computed under.

    The same compiled programs sample it, with every patient's weight set to 0; borrowed patients
    keep theirs, for they are part of the prior.

    Parameters
    ----------
    posterior : Posterior
    seed : int
    draws, warmup, chains : int
        Per chain.

    Returns
    -------
    dict of str to dict of str to array, shape (draw, ...)

    Raises
    ------
    InferenceError
        When the prior is improper, as the exact engine's reference prior of Normal cells is; for a
        stacked posterior, whose weights come from data: only its models have priors.
    """
    if isinstance(posterior, StackedPosterior):
        raise InferenceError("A stacked posterior has no prior of its own, its weights come from the data; ask the posteriors that were stacked: "
                             f"{listing(m.name for m in posterior.models)}.")
    if posterior.engine == "exact":
        return {r.name: _conjugate(posterior, r, chains * draws, seed) for r in posterior.study.responses}
    n = posterior.trajectories.n
    blocks = [
        Block(b.compiled, b.inputs, b.y, np.where(np.arange(b.weight.shape[-1]) < n, 0.0, b.weight))
        for b in blocks_of(posterior.study, posterior.trajectories, dict(posterior.scales), posterior.borrowed)
    ]
    study = posterior.study
    drawn = apart(study, sample(blocks, seed=seed, draws=draws, warmup=warmup, chains=chains, show=False))
    named = {variable(r.name, p): v for r, d in zip(study.responses, drawn, strict=True) for p, v in d.values.items()}
    flat = {n: v.reshape(chains * draws, *v.shape[2:]) for n, v in named.items()}
    return {r.name: {p: flat[stored(r.name, p)] for p in posterior.compiled(r.name).parameters} for r in study.responses}
