"""`StackedPosterior`: several models of one study, each response's models mixed in fixed proportions.

Weights are kept per response. Responses have separate parameters, so the log predictive density of
a patient is a sum over responses, and the joint predictive distribution

    p(y_1, ..., y_R | decisions) = product over r of  sum over models m of  w_rm p_m(y_r | own history)

factorises again. Two things follow. A response may take its best model, whatever the models of
other responses are: no weight for whole models can predict better response by response. And what
has been observed of a patient says nothing about which model holds for what comes next, so that
backward induction with posterior-averaged probabilities is exact for the mixture, as it is for one
model. With one weight per whole model the weights would have to be updated by every patient's own
history at every decision, and stacking weights are not probabilities of models that Bayes' rule
could update.

A draw holds, for every response, the parameters of one model; which one is spread evenly over the
draws in proportion to the weights, independently from response to response.
"""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..data import cell_counts
from ..errors import InferenceError
from ..model import CompiledResponse, Mixture, compile_response, look_paired
from ..model.mixture import MODEL, parameter_of
from ..schema import CHAIN, DRAW, OBSERVED, PATIENT, POSTERIOR, PREDICTIVE, TRAJECTORIES, variable
from ..study.study import Scale, Study
from ..text import fold
from .check import convergence_reasons, doubts, predictive_checks
from .fit import MOST_REPLICATED, REPLICATES, stand_ins
from .posterior import Posterior
from .verdict import Convergence, Verdict

STACKED = "stacked"
NEGLIGIBLE = 0.001
"""A model of smaller weight gets no draws: a handful could not represent it."""
STRATA = 20
"""Draws over which the proportions of the models are kept."""
WITHOUT_PARAMETERS = (4, 1000)
"""Chains and draws where no model has a parameter."""


@dataclass(frozen=True, eq=False)
class StackedModel:
    """One of the models: its declaration and where its draws came from.

    Attributes
    ----------
    name : str
    study : Study
    scales : mapping of str to Scale
    seed : int
    engine : str
    shape : tuple of int
        Chains and draws per chain of its own posterior.
    verdict : Verdict
    """

    name: str
    study: Study
    scales: Mapping[str, Scale]
    seed: int
    engine: str
    shape: tuple[int, int]
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class StackedPosterior(Posterior):
    """A posterior whose responses are mixtures of several models' responses, in fixed proportions.

    It stands wherever a posterior does. `study` is the first model's (all share timeline and
    utility), `engine` is "stacked", and the group ``posterior`` of `tree` holds every model's
    parameters as ``response::model::parameter`` and which model a draw belongs to as
    ``response::(model)``, an index into `models`.

    Attributes
    ----------
    models : tuple of StackedModel
    weights : mapping of str to tuple of float
        By response, one weight per model, summing to one.
    """

    models: tuple[StackedModel, ...]
    weights: Mapping[str, tuple[float, ...]]

    def part(self, model: int, response: str) -> CompiledResponse:
        """One model's compiled response."""
        return compile_response(self.models[model].study, response, self.trajectories.cluster_labels)

    def compiled(self, response: str) -> Mixture:  # type: ignore[override]
        """The mixture of the models of a response."""
        return Mixture(response, tuple((self.part(k, response), m.scales) for k, m in enumerate(self.models)))

    def draws(self, response: str, thin: int = 1) -> dict[str, np.ndarray]:
        """A response's draws, chains end to end: see :class:`bayesdtr.model.Mixture`."""
        group = self.tree[POSTERIOR]
        names = {MODEL: variable(response, MODEL)}
        for k, m in enumerate(self.models):
            names |= {parameter_of(k, p): variable(variable(response, m.name), p) for p in self.part(k, response).parameters}
        arrays = {n: group[stored].values for n, stored in names.items()}
        return {n: a.reshape(self.size, *a.shape[2:])[::thin] for n, a in arrays.items()}

    def inputs(self, response: str, history: Mapping[str, np.ndarray], cluster: np.ndarray | None) -> dict[str, np.ndarray]:
        """Not defined: every model has inputs of its own.

        Raises
        ------
        InferenceError
        """
        raise InferenceError("A stacked posterior has no inputs of its own; ask one of the posteriors that were stacked.")

    def __str__(self) -> str:
        chains, draws = self.shape
        lines = [f"Stacked posterior of {self.trajectories.n} patients: {len(self.models)} models, {chains} x {draws} draws, seed {self.seed}"]
        for m in self.models:
            lines.append(f"  {m.name}: engine {m.engine}, seed {m.seed}, {m.shape[0]} x {m.shape[1]} draws, verdict {m.verdict.status}")
        lines.append("Weights by response")
        for response, weights in self.weights.items():
            lines.append(f"  {response}: " + ", ".join(f"{m.name} {w:.3f}" for m, w in zip(self.models, weights, strict=True)))
        return fold("\n".join([*lines, str(self.verdict)]))


def allocate(weights: Sequence[float], size: int, rng: np.random.Generator) -> np.ndarray:
    """Which model each of `size` draws belongs to: in random order, proportions kept over every few draws; shape (size,).

    The random order leaves any thinned part a fair sample; strata keep its proportions steady.
    """
    blocks = -(-size // STRATA)
    start = (rng.random() + np.arange(blocks) * (np.sqrt(5) - 1) / 2) % 1  # evenly spread over blocks, so that counts are exact to rounding
    order = rng.permuted(np.tile(np.arange(STRATA), (blocks, 1)), axis=1)
    points = ((order + start[:, None]) / STRATA).ravel()[:size]
    return np.searchsorted(np.cumsum(weights)[:-1], points, side="right")


def even_draws(arrays: Mapping[str, np.ndarray], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Arrays of draws, chains end to end, at evenly spaced draws; shape (chain, draw, ...)."""
    chains, draws = shape
    out = {}
    for name, a in arrays.items():
        each = len(a) // chains
        rows = np.arange(chains)[:, None] * each + (np.arange(draws) * each) // draws
        out[name] = a[rows]
    return out


def common_shape(posteriors: Sequence[Posterior]) -> tuple[int, int]:
    """Chains and draws that all posteriors can supply without repeating a draw."""
    drawn = [p.shape for p in posteriors if p.size > 1]
    if not drawn:
        return WITHOUT_PARAMETERS
    chains = min(c for c, _ in drawn)
    return chains, min(c * d for c, d in drawn) // chains


def mixed_dataset(posteriors: Sequence[Posterior], names: Sequence[str], weights: Mapping[str, Sequence[float]], seed: int) -> xr.Dataset:
    """Draws of all models side by side, with the model that each draw belongs to, response by response."""
    shape = common_shape(posteriors)
    size = shape[0] * shape[1]
    variables, coords = {}, {CHAIN: np.arange(shape[0]), DRAW: np.arange(shape[1])}
    for response, w in weights.items():
        rng = np.random.default_rng([seed, zlib.crc32(response.encode()), 7])
        variables[variable(response, MODEL)] = ((CHAIN, DRAW), allocate(w, size, rng).reshape(shape))
        for name, posterior in zip(names, posteriors, strict=True):
            compiled, prefix = posterior.compiled(response), variable(response, name)
            for parameter, values in even_draws(posterior.draws(response), shape).items():
                dims = tuple(variable(prefix, d) for d in compiled.dims.get(parameter, ())) or tuple(
                    variable(prefix, f"{parameter}_{i}") for i in range(values.ndim - 2))
                coords |= {variable(prefix, d): np.array(compiled.coords[d], dtype=np.str_) for d in compiled.dims.get(parameter, ())}
                variables[variable(prefix, parameter)] = ((CHAIN, DRAW, *dims), values)
    return xr.Dataset(variables, coords=coords)


def cleaned(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights with negligible ones set to zero, summing to one."""
    w = np.asarray(weights, dtype=float)
    w = np.where(w < NEGLIGIBLE, 0.0, w)
    return tuple(float(x) for x in w / w.sum())


def mixed(posteriors: Sequence[Posterior], names: Sequence[str], weights: Mapping[str, Sequence[float]]) -> StackedPosterior:
    """Mix posteriors, without replicated data and with the first one's verdict: to predict with, not to show."""
    first, weights = posteriors[0], {r: cleaned(w) for r, w in weights.items()}
    models = tuple(StackedModel(n, p.study, p.scales, p.seed, p.engine, p.shape, p.verdict) for n, p in zip(names, posteriors, strict=True))
    groups = {
        POSTERIOR: mixed_dataset(posteriors, names, weights, first.seed), OBSERVED: first.tree[OBSERVED].to_dataset(),
        TRAJECTORIES: first.tree[TRAJECTORIES].to_dataset(),
    }
    return StackedPosterior(first.study, first.trajectories, xr.DataTree.from_dict(groups), first.scales, first.seed, STACKED, first.verdict,
                            models, weights)


def stack(
    posteriors: Sequence[Posterior], names: Sequence[str], weights: Mapping[str, Sequence[float]], *, notes: Sequence[str] = ()
) -> StackedPosterior:
    """Mix posteriors of the same patients, timeline and utility in given proportions.

    Parameters
    ----------
    posteriors : sequence of Posterior
        :func:`bayesdtr.compare_models` checks that they belong together and works the weights out.
    names : sequence of str
    weights : mapping of str to sequence of float
        By response, one per model; weights below 0.001 become 0.
    notes : sequence of str
        Reasons for doubt that go into the verdict.

    Returns
    -------
    StackedPosterior
        With as many draws as the smallest posterior holds.
    """
    bare = mixed(posteriors, names, weights)
    replicates, kept = replicated(bare)
    t, chains = bare.trajectories, bare.shape[0]
    groups = {name: node.to_dataset() for name, node in bare.tree.children.items()}
    groups[PREDICTIVE] = xr.Dataset(
        {n: ((CHAIN, DRAW, PATIENT), np.where(t.observed(n), v.reshape(chains, len(kept), -1), np.nan)) for n, v in replicates.items()},
        coords={CHAIN: np.arange(chains), DRAW: kept, PATIENT: t.ids},
    )
    return dataclasses.replace(bare, tree=xr.DataTree.from_dict(groups), verdict=verdict_of(bare, replicates, notes))


def replicated(posterior: StackedPosterior) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Replicated data of every response given each patient's own history, shape (draw, patient), and the draws of each chain they belong to."""
    t = posterior.trajectories
    chains, per_chain = posterior.shape
    step = -(-posterior.size // max(100, min(REPLICATES, MOST_REPLICATED // t.n)))
    kept = np.arange(0, per_chain, step)
    index = (np.arange(chains)[:, None] * per_chain + kept).ravel()
    found = {}
    for name in posterior.weights:
        compiled = posterior.compiled(name)
        rows = stand_ins(t.observed(name))
        wide = lambda v: np.broadcast_to(v, (len(index), len(v)))  # noqa: E731
        columns = {n: wide(v) for n, v in t.history(compiled.history, rows).items()}
        rng = np.random.default_rng([posterior.seed, zlib.crc32(name.encode()), 1])
        draws = {p: v[index] for p, v in posterior.draws(name).items()}
        cluster = None if t.cluster is None else wide(t.cluster[rows])
        extras = {n: wide(v[rows]) for n, v in t.extras.items()}
        found[name] = look_paired(compiled, draws, columns, cluster, posterior.scales, "sample", rng.random((len(index), t.n)), extras)
    return found, kept


def verdict_of(posterior: StackedPosterior, replicates: dict[str, np.ndarray], notes: Sequence[str]) -> Verdict:
    """The worst of what was found of the models that have weight, with predictive checks of the mixture itself."""
    order = ("ok", "warn", "fail")
    study, t = posterior.study, posterior.trajectories
    status, reasons = "ok", []
    used = [m for k, m in enumerate(posterior.models) if any(w[k] > 0 for w in posterior.weights.values())]
    for m in used:
        mine, why = convergence_reasons(m.verdict.convergence)
        if m.verdict.status == "fail" and mine != "fail":
            mine, why = "fail", list(m.verdict.reasons[:1])
        status = max(status, mine, key=order.index)
        reasons += [f"Model {m.name!r}: {reason}" for reason in why]
    cells = cell_counts(study, t)
    predictive = predictive_checks(study, t, replicates)
    softer = [*notes, *doubts(study, cells, predictive)]
    status = "warn" if softer and status == "ok" else status
    return Verdict(status, tuple([*reasons, *softer]), _worst(used), tuple(cells), tuple(predictive))


def _worst(models: Sequence[StackedModel]) -> Convergence:
    """The worst diagnostics over several models, each variable under its model's name."""
    rated = [(m, m.verdict.convergence) for m in models]
    high = max(rated, key=lambda x: -np.inf if np.isnan(x[1].rhat) else x[1].rhat)
    low = min(rated, key=lambda x: np.inf if np.isnan(x[1].ess_bulk) else x[1].ess_bulk)
    tails = [c.ess_tail for _, c in rated if not np.isnan(c.ess_tail)]
    named = lambda m, text: f"{text} of {m.name}"  # noqa: E731
    return Convergence(
        high[1].rhat, named(high[0], high[1].rhat_variable), low[1].ess_bulk, min(tails, default=np.nan), named(low[0], low[1].ess_variable),
        sum(c.divergences for _, c in rated), sum(c.draws for _, c in rated),
    )
