"""Draws from the prior of every response's model: what is believed before any data."""

import numpy as np

from ..errors import InferenceError
from ..study.models import Saturated
from .fit import blocks_of
from .nuts import Block, sample
from .posterior import Posterior


def prior_draws(posterior: Posterior, *, seed: int, draws: int = 1000, warmup: int = 1000, chains: int = 4) -> dict[str, dict[str, np.ndarray]]:
    """Draw every response's parameters from the prior that a posterior was computed under.

    The same compiled programs sample it, with every patient's weight set to 0.

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
        When the prior is improper, as the exact engine's reference prior of Normal cells is.
    """
    if posterior.engine == "exact":
        for response in posterior.study.responses:
            model = response.model
            if isinstance(model, Saturated) and model.conjugate is None and response.support is None:
                raise InferenceError(f"The reference prior of {response.name!r} under engine='exact' is improper: nothing can be drawn from it.")
    blocks = [
        Block(b.compiled, b.inputs, b.y, np.zeros_like(b.weight)) for b in blocks_of(posterior.study, posterior.trajectories, dict(posterior.scales))
    ]
    drawn = sample(blocks, seed=seed, draws=draws, warmup=warmup, chains=chains, show=False)
    return {
        b.compiled.name: {p: d.values[p].reshape(chains * draws, *d.values[p].shape[2:]) for p in b.compiled.parameters}
        for b, d in zip(blocks, drawn, strict=True)
    }
