"""`fit_many`: the posteriors of thousands of data sets of one shape, in batches under `vmap`."""

import functools
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InferenceError, VerdictWarning, did_you_mean, listing
from ..kept import Kept
from ..model import CompiledResponse, compile_response
from ..runtime import Progress, double_precision, key, progress
from ..study.study import Study
from ..study.timeline import labels_of
from . import many, nuts
from .coordinates import latent as latent_model
from .fit import LARGEST_SEED
from .pareto import LARGEST_KHAT
from .stack import Stack, stacked

ENGINES = ("laplace", "nuts")
BATCH = {"laplace": 64, "nuts": 16}
"""Data sets in one call of a compiled program; bounds memory, changes no answer."""
DEPTH = 6
"""Largest tree depth under "nuts": in standard coordinates a path of 63 steps is long."""
CHECKED = 100
"""Draws weighed for k-hat, about."""


@dataclass(frozen=True, eq=False)
class Fits:
    """Posteriors of many data sets.

    Attributes
    ----------
    study : Study
    draws : mapping of str to mapping of str to array, shape (dataset, draw, ...)
        By response and parameter: coefficients, scales and what else a posterior reports.
    diagnostics : mapping of str to mapping of str to array, shape (dataset,)
        By response. "laplace": ``ess_design`` (effective points over the other parameters, of 64) and, if asked
        for, ``khat``; of corrected draws ``khat`` and ``ess`` of their weights. "nuts": ``divergences`` and ``steps``.
    scales : mapping of str to pair of array, shape (dataset,)
        Location and SD of every continuous variable.
    cluster_labels : tuple of str
    seed : int
    engine : {"laplace", "nuts"}
    """

    study: Study
    draws: Mapping[str, Mapping[str, np.ndarray]]
    diagnostics: Mapping[str, Mapping[str, np.ndarray]]
    scales: Mapping[str, tuple[np.ndarray, np.ndarray]]
    cluster_labels: tuple[str, ...]
    seed: int
    engine: str

    @property
    def size(self) -> int:
        """Number of data sets."""
        return next(iter(next(iter(self.draws.values())).values())).shape[0]

    def dims(self, response: str, parameter: str) -> dict[str, tuple[str, ...]]:
        """Names and labels of a parameter's own dimensions."""
        compiled = self._compiled(response)
        return {d: compiled.coords[d] for d in compiled.dims.get(parameter, ())}

    def _compiled(self, response: str) -> CompiledResponse:
        if response not in self.draws:
            raise InferenceError(f"fit_many: no response {response!r}; responses: {listing(self.draws)}{did_you_mean(response, self.draws)}")
        return compile_response(self.study, response, self.cluster_labels)

    def expected(self, response: str, histories: Sequence[Mapping[str, Any]], worth: Mapping[str, float] | None = None) -> np.ndarray:
        """Expected response of patients with given histories, in every data set and draw.

        Parameters
        ----------
        response : str
        histories : sequence of mapping of str to value
            Every variable before the response by name: labels of decisions and labelled covariates, else numbers.
            Where the study has clusters, the patient is of a cluster never seen.
        worth : mapping of str to float, optional
            What each level of a labelled response is worth; such a response has no other expectation.

        Returns
        -------
        array, shape (dataset, draw, history)

        Raises
        ------
        InferenceError
            For a response that the study does not have, a history that lacks a variable, or a labelled response without `worth`.
        """
        compiled = self._compiled(response)
        numbers = _worth(self.study[response], worth)
        rows = _history_inputs(self.study, compiled, histories, len(self.cluster_labels))
        scales = {n: np.stack(self.scales[n], axis=1) for n in self.scales}
        found = []
        with double_precision():
            run = _expectation(compiled, numbers)
            for begin in range(0, self.size, BATCH["laplace"]):
                part = slice(begin, begin + BATCH["laplace"])
                drawn = {p: self.draws[response][p][part] for p in compiled.parameters}
                found.append(np.asarray(run(drawn, rows, {n: v[part] for n, v in scales.items()})))
        return np.concatenate(found)

    def p_best(self, response: str, histories: Sequence[Mapping[str, Any]], worth: Mapping[str, float] | None = None) -> np.ndarray:
        """Posterior probability that each history has the largest expected response; ties are shared. Shape (dataset, history)."""
        expected = self.expected(response, histories, worth)
        best = expected == expected.max(axis=2, keepdims=True)
        return (best / best.sum(axis=2, keepdims=True)).mean(axis=1)


def _history_inputs(study: Study, compiled: CompiledResponse, histories: Sequence[Mapping[str, Any]], unseen: int) -> dict[str, np.ndarray]:
    """Inputs with one row per history."""
    inputs: dict[str, np.ndarray] = {}
    for name in compiled.history:
        if absent := [i for i, h in enumerate(histories) if name not in h]:
            raise InferenceError(f"fit_many: history {absent[0]} lacks {name!r}; it needs {listing(compiled.history)}.")
        labelled = labels_of(study[name]) is not None
        values = [study.code(name, h[name]) if labelled else float(h[name]) for h in histories]
        inputs[name] = np.array(values, dtype=np.int64 if labelled else float)
    if "cluster::code" in compiled.inputs:
        inputs["cluster::code"] = np.full(len(histories), unseen, dtype=np.int64)
    return inputs | {name: np.full(len(histories), float(default)) for name, default in compiled.extras.items()}


def _worth(node: Any, worth: Mapping[str, float] | None) -> tuple[float, ...] | None:
    """What the levels of a response are worth in their order, or None for its mean."""
    levels = labels_of(node)
    if levels is None:
        if worth is not None:
            raise InferenceError(f"fit_many: response {node.name!r} is a number, so worth= does not apply.")
        return None
    if worth is None or set(worth) != set(levels):
        given = "none" if worth is None else listing(worth)
        raise InferenceError(f"fit_many: {node.name!r} has labels, not numbers; give worth= a number for each of {listing(levels)}, got {given}.")
    return tuple(float(worth[level]) for level in levels)


@functools.lru_cache(maxsize=64)
def _expectation(compiled: CompiledResponse, worth: tuple[float, ...] | None) -> Any:
    def mean(law):
        from ..model.distributions import log_prob, mean_and_variance

        if worth is None:
            return mean_and_variance(law)[0]
        p = jnp.exp(log_prob(law, jnp.arange(len(worth))[:, None]))
        return jnp.asarray(worth) @ p

    def one(parameters, rows, scales):
        numbers = {f"{n}::location": v[0] for n, v in scales.items()} | {f"{n}::sd": v[1] for n, v in scales.items()}
        inputs = {n: rows[n] if n in rows else numbers[n] for n in compiled.inputs}
        return jax.vmap(lambda p: mean(compiled.predict(p, inputs)))(parameters)

    return Kept(jax.vmap(one, in_axes=(0, None, 0)), compiled.address, "expectation", str(worth))


def _check(study: Any, seed: Any, engine: Any, corrected: bool, numbers: Mapping[str, tuple[Any, int]]) -> None:
    """Raise InferenceError for an argument of :func:`fit_many` that is out of range."""
    if not isinstance(study, Study):
        raise InferenceError(f"fit_many takes a Study first, got {type(study).__name__}.")
    if engine not in ENGINES:
        raise InferenceError(f"fit_many: no engine {engine!r}; engines: {listing(ENGINES)}{did_you_mean(engine, ENGINES)}")
    if corrected and engine != "laplace":
        raise InferenceError(f"fit_many: corrected=True corrects Laplace's approximation; leave it out under engine={engine!r}.")
    for name, (value, least) in {"seed": (seed, 0), **numbers}.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise InferenceError(f"fit_many: {name} must be a whole number of at least {least}, got {value!r}.")
    if seed > LARGEST_SEED:
        raise InferenceError(f"fit_many: seed must be at most {LARGEST_SEED}, got {seed!r}.")
    if study.shared:
        raise InferenceError(f"fit_many takes one response at a time, and {listing(study.shared)} share patients' effects or stages; use fit.")


def fit_many(
    study: Study, data: Any, *, seed: int, engine: str = "laplace", draws: int = 256, warmup: int = 300, chains: int = 1, khat: bool = False,
    corrected: bool = False, first: int = 0, batch: int | None = None, cluster_labels: Sequence[str] = (), progress: str | bool = False,
) -> Fits:
    """Posteriors of many data sets of one shape: interim looks, simulated trials, calibration.

    Parameters
    ----------
    study : Study
    data : sequence of data frames or of Trajectories, or mapping of str to array, shape (dataset, patient)
        Frames are read one by one and filled up to the longest with patients who do not count. Arrays hold codes of labels
        (their order in the study; -1 where a decision is not made) and numbers (NaN where not observed), by the study's
        names and under the name of its cluster column: a patient not yet enrolled is a row of NaN and -1.
    seed : int
        Data set `i` draws from the key of `seed` and ``first + i``, whatever its batch.
    engine : {"laplace", "nuts"}
        "laplace" reads each data set a few times; its draws are a shifted quasi-random sequence, so their averages are sharper
        than those of independent draws. "nuts" runs chains in the coordinates of :func:`fit`, in trees of 63 steps at most: for audits.
    draws : int
        Per data set ("laplace"), or per chain ("nuts").
    warmup, chains : int
        Under "nuts".
    khat : bool
        Under "laplace": weigh about 100 draws of each data set and report k-hat; it may exceed 0.7 where probabilities are right.
    corrected : bool
        Under "laplace": weigh draws against the exact posterior, in rounds each placed by the weights of the one before, and
        resample the last ones; their k-hat is reported, and where it is 0.7 or more a warning names the data sets, for which
        only "nuts" will do. For whatever decides about patients; plain draws are for sketches of a design.
    first : int
        Number of the first data set, for a long run in parts.
    batch : int, optional
        Data sets in one call of the compiled program; memory grows with it, answers do not change.
    cluster_labels : sequence of str
        What the codes of clusters in arrays stand for.
    progress : {"auto", True, False}

    Returns
    -------
    Fits

    Raises
    ------
    DataError
        When a data set does not fit the study; its number is named.
    InferenceError
        When an argument is out of range, or "laplace" is asked of a model without linear predictors.
    """
    batch = BATCH.get(engine, 1) if batch is None else batch
    _check(study, seed, engine, corrected, {
        "draws": (draws, 4), "warmup": (warmup, 10), "chains": (chains, 1), "first": (first, 0), "batch": (batch, 1)})
    stack = stacked(study, data, cluster_labels)
    found, diagnostics = {}, {}
    for response in study.responses:
        compiled = compile_response(study, response.name, stack.cluster_labels)
        if compiled.parameters:
            how = (draws, warmup, chains, CHECKED if khat else 0, corrected)
            made = _run(compiled, stack, seed, first, engine, how, min(batch, stack.size), progress)
            found[response.name], diagnostics[response.name] = made
            _warn(response.name, diagnostics[response.name].get("khat") if corrected else None, first)
    return Fits(study, found, diagnostics, stack.scales, stack.cluster_labels, int(seed), engine)


def corrected_draws(
    compiled: CompiledResponse, stack: Stack, *, seed: int, draws: int, progress: str | bool = False
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One response's corrected draws ``(dataset, draw, ...)`` and diagnostics ``(dataset,)``, as :func:`fit_many` makes them; no warnings."""
    return _run(compiled, stack, seed, 0, "laplace", (draws, 300, 1, 0, True), min(BATCH["laplace"], stack.size), progress)


@functools.lru_cache(maxsize=64)
def _executable(
    compiled: CompiledResponse, signature: tuple[Any, ...], engine: str, draws: int, warmup: int, chains: int, checked: int, corrected: bool
) -> Any:
    """A batch's compiled program: seed, numbers of the data sets and data to draws and diagnostics."""
    shapes = {n: jax.ShapeDtypeStruct(shape, dtype) for n, shape, dtype in signature}
    data = ({n: shapes[n] for n in compiled.inputs}, shapes["y"], shapes["weight"])
    ids = jax.ShapeDtypeStruct((shapes["y"].shape[0],), np.int64)
    one = (
        functools.partial(_laplace, compiled, draws, checked, corrected) if engine == "laplace"
        else functools.partial(_nuts, compiled, draws, warmup, chains)
    )
    with double_precision():
        batched = jax.vmap(one, in_axes=(None, 0, 0)) if engine == "laplace" else functools.partial(_in_turn, one)
        how = map(str, (engine, draws, warmup, chains, checked, corrected))
        return Kept(batched, compiled.address, "many", *how).fetch(np.zeros((), dtype=np.int64), ids, data)


def _warn(response: str, khat: np.ndarray | None, first: int) -> None:
    """Name the data sets whose corrected draws cannot be trusted."""
    if khat is not None and (bad := np.flatnonzero(~(khat < LARGEST_KHAT))).size:
        warnings.warn(VerdictWarning(
            f"fit_many: k-hat of {response!r} is {LARGEST_KHAT} or more in {bad.size} of {khat.size} data sets "
            f"({listing((first + bad).tolist())}): the Laplace approximation is too far from their posteriors; use engine='nuts' for them."
        ), stacklevel=3)


def _in_turn(one: Any, seed, ids, data):
    """Chains one data set after the other: side by side all would take as many steps as the longest tree among them."""
    return jax.lax.map(lambda each: one(seed, *each), (ids, data))


def _laplace(compiled: CompiledResponse, draws: int, checked: int, corrected: bool, seed, number, data):
    if latent_model(compiled, data[0]) is None:
        raise InferenceError(f"fit_many: the model of response {compiled.name!r} has no Normal coefficients to approximate; use engine='nuts'.")
    return many.approximate(compiled, data, key(seed, compiled.name, number), draws, checked, corrected)


def _nuts(compiled: CompiledResponse, draws: int, warmup: int, chains: int, seed, number, data):
    """All chains of one data set, end to end."""
    lay_out, start, advance = nuts.programs(compiled, warmup, depth=DEPTH)
    made = lay_out(data)

    def chain(c):
        state = start(seed, number * chains + c, data, made)
        shapes = jax.eval_shape(lambda s: advance(s, data, made, 1)[1], state)
        kept = jax.tree.map(lambda a: jnp.zeros((draws, *a.shape[1:]), a.dtype), shapes)

        def step(i, carried):  # one loop for warm-up and draws: a second copy of the kernel would take as long again to compile
            state, kept = carried
            state, out = advance(state, data, made, 1)
            return state, jax.tree.map(lambda a, b: a.at[jnp.maximum(i - warmup, 0)].set(b[0]), kept, out)

        return jax.lax.fori_loop(0, warmup + draws, step, (state, kept))[1]

    values, stats = jax.lax.map(chain, jnp.arange(chains))
    flat = {n: v.reshape(chains * draws, *v.shape[2:]) for n, v in values.items()}
    return flat, {"divergences": jnp.sum(stats["diverging"]), "steps": jnp.mean(stats["n_steps"])}


def _run(
    compiled: CompiledResponse, stack: Stack, seed: int, first: int, engine: str, how: tuple[Any, ...], batch: int, show: str | bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All batches of one response, as many at a time as there are cores."""
    starts = range(0, stack.size, batch)
    indices = [np.minimum(np.arange(s, s + batch), stack.size - 1) for s in starts]  # the last batch is filled up with copies
    inputs, y, weight = stack.data(compiled, indices[0])
    signature = tuple((n, v.shape, str(v.dtype)) for n, v in {**inputs, "y": y, "weight": weight}.items())
    program = _executable(compiled, signature, engine, *how)

    def one(rows: np.ndarray, bar: Progress):
        with double_precision():
            out = program(np.asarray(seed, dtype=np.int64), first + rows, stack.data(compiled, rows))
            out = jax.tree.map(np.asarray, out)
        bar.advance(len(np.unique(rows)))
        return out

    with progress(stack.size, f"fitting {compiled.name}", show) as bar, ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool:
        parts = list(pool.map(lambda rows: one(rows, bar), indices))
    return jax.tree.map(lambda *a: np.concatenate(a)[: stack.size], *parts)
