"""Fits of one stage at a time: the responses after the last decision, and a pseudo-outcome in many imputed data sets."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..data import Trajectories
from ..errors import InferenceError
from ..model import CompiledResponse, compile_response
from ..study.families import Normal
from ..study.models import Saturated
from ..study.saturated import saturated_cells
from ..study.study import Scale, Study
from ..study.timeline import Response
from . import exact, laplace, nuts
from .check import convergence, convergence_reasons, predictive_checks, weighed
from .fit import REPLICATES, blocks_of, posterior_dataset, replicate, stats_dataset
from .fits import corrected_draws
from .pareto import LARGEST_KHAT
from .stack import Stack
from .verdict import Convergence, PredictiveCheck

CHAINS, LEAST = 4, 1000
"""Of the last decision's responses; draws per chain, at least, whatever is kept of them."""
FITTED, QUADRATIC = 1024, 128
"""Corrected draws of each imputed data set, of which one is kept; of a Normal response, whose log likelihood is quadratic, fewer will do."""
DOUBTFUL = 0.05
"""Share of imputations with weights that cannot be trusted, above which the answer is not."""


class StageFitted(NamedTuple):
    """Draws of some responses and what is to be said of them.

    Attributes
    ----------
    draws : mapping of str to mapping of str to array, shape (draw, ...)
        By response and parameter.
    status : {"ok", "warn", "fail"}
    reasons : tuple of str
    convergence : Convergence or None
    predictive : tuple of PredictiveCheck
    """

    draws: Mapping[str, Mapping[str, np.ndarray]]
    status: str
    reasons: tuple[str, ...]
    convergence: Convergence | None = None
    predictive: tuple[PredictiveCheck, ...] = ()


def fit_responses(
    study: Study, trajectories: Trajectories, names: Sequence[str], scales: Mapping[str, Scale], *, seed: int, engine: str, size: int,
    show: str | bool = "auto",
) -> StageFitted:
    """Draw from the posterior of some responses of a study as :func:`fit` does; the others need no model that can be fitted.

    Parameters
    ----------
    study : Study
    trajectories : Trajectories
    names : sequence of str
        Responses.
    scales : mapping of str to Scale
    seed : int
    engine : {"nuts", "exact", "laplace"}
    size : int
        Draws to keep, evenly spaced over those made.

    Raises
    ------
    InferenceError
        Where the engine does not apply.
    """
    fixed, each = dict(scales), -(-size // CHAINS)
    compiled = {n: compile_response(study, n, trajectories.cluster_labels) for n in names}
    if engine == "exact":
        exact.refuse(study, names)
        drawn = {n: exact.draw(study, trajectories, study[n], size=each * CHAINS, seed=seed) for n in names}
        results = {n: nuts.Draws({p: v.reshape(CHAINS, each, *v.shape[1:]) for p, v in d.items()}, {}) for n, d in drawn.items()}
    elif engine == "laplace":
        made = laplace.sample(blocks_of(study, trajectories, fixed, only=names), seed=seed, draws=max(LEAST, each), chains=CHAINS,
                              show=show)
        results = dict(zip(names, made, strict=True))
    else:
        blocks = blocks_of(study, trajectories, fixed, only=names)
        made = nuts.sample(blocks, seed=seed, draws=max(LEAST, each), warmup=1000, chains=CHAINS, show=show)
        results = dict(zip(names, made, strict=True))
    dataset, stats = posterior_dataset(compiled, results), stats_dataset(results)
    found = weighed(convergence(dataset, stats), stats)
    status, reasons = convergence_reasons(found)
    flat = {n: {p: v.reshape(-1, *v.shape[2:]) for p, v in r.values.items()} for n, r in results.items()}
    replicates = {n: _replicated(compiled[n], flat[n], trajectories, fixed, seed) for n in names}
    kept = {n: {p: v[_spaced(len(v), size)] for p, v in d.items()} for n, d in flat.items()}
    return StageFitted(kept, status, tuple(reasons), found, tuple(predictive_checks(study, trajectories, replicates)))


def _spaced(have: int, want: int) -> np.ndarray:
    """Indices of evenly spaced draws."""
    return (np.arange(want) * have) // want


def _replicated(compiled: CompiledResponse, draws: Mapping[str, np.ndarray], t: Trajectories, scales: dict[str, Scale], seed: int) -> np.ndarray:
    size = next((len(v) for v in draws.values()), 1)
    some = {p: v[_spaced(size, min(size, REPLICATES))] for p, v in draws.items()}
    made = replicate(compiled, some, t, scales, seed)
    return made if draws else np.broadcast_to(made, (REPLICATES, t.n))


def fit_imputed(
    study: Study, name: str, histories: Mapping[str, np.ndarray], outcome: np.ndarray, *, cluster: np.ndarray | None,
    cluster_labels: Sequence[str], scales: Mapping[str, Scale], seed: int, engine: str, show: str | bool = "auto",
) -> StageFitted:
    """One posterior draw of a response's parameters for each of many imputed outcomes of the same patients.

    Parameters
    ----------
    study : Study
    name : str
        The response.
    histories : mapping of str to array, shape (n,)
        What came before it, as later models see it.
    outcome : array, shape (imputation, n)
        NaN for patients who do not count.
    cluster : array of int, shape (n,), or None
    cluster_labels : sequence of str
    scales : mapping of str to Scale
        Fixed: the same for every imputation.
    seed : int
    engine : {"exact", "laplace"}
        Conjugate draws of saturated cells, or corrected Laplace, all imputations in one compiled program.

    Raises
    ------
    InferenceError
        Where the engine does not apply.
    """
    response = study[name]
    assert isinstance(response, Response)
    if engine == "exact":
        return StageFitted({name: _conjugate(study, response, histories, outcome, seed)}, "ok", ())
    compiled = compile_response(study, name, tuple(cluster_labels))
    wide = lambda v: np.broadcast_to(v, outcome.shape)  # noqa: E731
    stack = Stack(
        {n: wide(v) for n, v in histories.items()} | {name: outcome}, None if cluster is None else wide(cluster), tuple(cluster_labels),
        {n: (np.full(len(outcome), s.location), np.full(len(outcome), s.sd)) for n, s in scales.items()}, {},
    )
    if compiled.linear is None or not compiled.linear.affine:
        raise InferenceError(f"The model of {name!r} has no Normal coefficients to approximate, and many imputed data sets are fitted by Laplace's "
                             "approximation; give it a built-in model.")
    each = QUADRATIC if isinstance(response.family, Normal) else FITTED
    drawn, diagnostics = corrected_draws(compiled, stack, seed=seed, draws=each, progress=show)
    pick = np.random.default_rng([seed, 9]).integers(each, size=len(outcome))
    status, reasons = _trusted(name, diagnostics["khat"])
    return StageFitted({name: {p: v[np.arange(len(outcome)), pick] for p, v in drawn.items()}}, status, reasons)


def _trusted(name: str, khat: np.ndarray) -> tuple[str, tuple[str, ...]]:
    """Status and sentences on the importance weights of many imputations."""
    bad = int((~(khat < LARGEST_KHAT)).sum())
    if not bad:
        return "ok", ()
    said = (f"k-hat of {name!r} is {LARGEST_KHAT} or more in {bad} of {khat.size} imputations: the Laplace approximation is too far from the "
            "posterior there; stages of expected outcomes (the mean modes) are Normal and need no such approximation.")
    return "fail" if bad > DOUBTFUL * khat.size else "warn", (said,)


def _conjugate(study: Study, response: Response, histories: Mapping[str, np.ndarray], outcome: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Independent conjugate draws, one for each imputation."""
    if not isinstance(response.model, Saturated):
        raise InferenceError(f"engine='exact' needs saturated cells, and the model of {response.name!r} is another; "
                             "give it Saturated(), or use another engine.")
    exact.refuse(study, [response.name])
    cells, rng = saturated_cells(study, response), np.random.default_rng([seed, 9])
    counts = np.isfinite(outcome[0])
    cell = exact.cell_of(cells, {n: histories[n][counts] for n in cells.names})
    priors = study.priors(response.name)
    drawn = [
        exact.bernoulli_cells(y, cell, cells, priors, 1, rng) if "probability" in priors else exact.normal_cells(y, cell, cells, response, 1, rng)
        for y in outcome[:, counts]
    ]
    return {p: np.concatenate([d[p] for d in drawn]) for p in drawn[0]}
