"""`fit`: from a study and a data frame to a posterior."""

import dataclasses
import json
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from ..data import Trajectories, fix_scales, gaps, read
from ..errors import DataError, InferenceError, did_you_mean, listing
from ..model import CompiledResponse, LinkedResponse, compile_response, evaluate_paired, joint_input, joint_of, make_inputs
from ..model.names import EFFECT_INPUT
from ..runtime import double_precision
from ..schema import CHAIN, DRAW, IMPUTED, OBSERVED, PATIENT, POSTERIOR, PREDICTIVE, SAMPLE_STATS, TRAJECTORIES, stored, variable
from ..study.missing import INTAKE, covariate_study
from ..study.models import UserModel
from ..study.study import Scale, Study
from ..study.timeline import labels_of
from . import augment, exact, laplace, nuts
from .borrow import Borrowed, PowerPrior, borrowed_of
from .check import examine
from .gaps import covariate_models, covariate_scales, find
from .posterior import Posterior

ENGINES = ("nuts", "exact", "laplace")
DEFAULT_DRAWS = {"nuts": 1000, "exact": 100_000, "laplace": 1000}
LARGEST_SEED = 2**62
REPLICATES = 1000
"""Posterior predictive replicates kept for checks and plots, over all chains, at most."""
MOST_REPLICATED = 2_000_000
"""Replicated outcomes per response, at most."""


def check_arguments(study: Any, seed: Any, engine: Any, draws: Any, warmup: Any = 1000, chains: Any = 4, verb: str = "fit") -> None:
    """Raise InferenceError for an argument of :func:`fit`, or of another verb that fits, that is out of range."""
    if not isinstance(study, Study):
        raise InferenceError(f"{verb} takes a Study first, got {type(study).__name__}.")
    if engine not in ENGINES:
        raise InferenceError(f"{verb}: no engine {engine!r}; engines: {listing(ENGINES)}{did_you_mean(engine, ENGINES)}")
    for name, value, least in (("seed", seed, 0), ("draws", draws, 4), ("warmup", warmup, 10), ("chains", chains, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise InferenceError(f"{verb}: {name} must be a whole number of at least {least}, got {value!r}.")
    if seed > LARGEST_SEED:
        raise InferenceError(f"{verb}: seed must be at most {LARGEST_SEED}, got {seed!r}.")
    if study.shared and engine != "nuts":
        raise InferenceError(
            f"{verb}: engine={engine!r} takes one response at a time, and {listing(study.shared)} share patients' effects or stages; "
            "use engine='nuts'."
        )


def fit(
    study: Study, data: Any, *, seed: int, engine: str = "nuts", draws: int | None = None, warmup: int = 1000, chains: int = 4,
    progress: str | bool = "auto", borrow: PowerPrior | None = None,
) -> Posterior:
    """Sample the posterior of every response's model.

    Parameters
    ----------
    study : Study
    data : pandas, polars or pyarrow frame, or Trajectories
        One row per patient; never changed.
    seed : int
        The same seed gives the same draws.
    engine : {"nuts", "exact", "laplace"}
        NUTS for any model; "exact" draws independently from the conjugate posterior of saturated cells;
        "laplace" draws from a Normal approximation mixed over the hierarchical parameters and corrected by
        importance weights, whose k-hat the verdict reports: for looks and simulations, never the final analysis.
    draws : int, optional
        Per chain for "nuts" and "laplace" (default 1000); independent draws in all for "exact" (default 100,000).
    warmup, chains : int
        Warm-up iterations per chain, and chains.
    progress : {"auto", True, False}
        "auto" shows a bar in a terminal or a notebook.
    borrow : PowerPrior, optional
        Patients of an earlier trial at a discount. Scales are those of the new patients; whether the
        two disagree is worked out too, which takes a second run without the new patients.

    Returns
    -------
    Posterior

    Raises
    ------
    DataError
        When the frame does not fit the study.
    ModelError
        When a user-written model cannot be built, compiled or sampled.
    InferenceError
        When the engine does not apply or an argument is out of range.
    """
    draws = DEFAULT_DRAWS.get(engine, 1000) if draws is None else draws
    check_arguments(study, seed, engine, draws, warmup, chains)
    if engine == "exact":
        exact.refuse(study)
    trajectories = data if isinstance(data, Trajectories) else read(study, data)
    trajectories, borrowed = (trajectories, None) if borrow is None else borrowed_of(study, borrow, trajectories)
    scales = fix_scales(study, trajectories)
    compiled = {r.name: compile_response(study, r.name, trajectories.cluster_labels) for r in study.responses}
    how: dict[str, Any] = {"seed": seed, "draws": draws, "warmup": warmup, "chains": chains, "show": progress}
    if lost := gaps(study, trajectories.columns):
        _refuse_gaps(study, lost, engine, borrow)
        return _with_gaps(study, trajectories, scales, compiled, how)
    if engine == "exact":
        results = _exact(study, trajectories, draws, seed, chains, borrowed)
    elif engine == "laplace":
        results = laplace.sample(blocks_of(study, trajectories, scales, borrowed), seed=seed, draws=draws, chains=chains, show=progress)
    else:
        results = apart(study, nuts.sample(blocks_of(study, trajectories, scales, borrowed), **how))
    posterior = assemble(study, trajectories, scales, compiled, dict(zip(compiled, results, strict=True)), seed=seed, engine=engine)
    return posterior if borrowed is None else _with_conflict(posterior, borrowed, warmup)


def _refuse_gaps(study: Study, lost: Mapping[str, np.ndarray], engine: str, borrow: Any) -> None:
    """Raise where missing values cannot be drawn with the parameters."""
    if engine != "nuts" or borrow is not None:
        what = "fit(borrow=...)" if borrow is not None else f"fit(engine={engine!r})"
        raise InferenceError(f"{what} takes complete histories, and {listing(lost)} has missing values; use engine='nuts' without borrowing.")
    if study.shared:
        raise InferenceError(f"{listing(lost)} has missing values, and responses that share parameters ({listing(study.shared)}) take complete "
                             "histories; enter the values, or let the responses share nothing.")


def _with_gaps(
    study: Study, trajectories: Trajectories, scales: dict[str, Scale], compiled: dict[str, CompiledResponse], how: dict[str, Any]
) -> Posterior:
    """Parameters and missing values together, with the models of covariates that lack values."""
    covariates = covariate_models(study, trajectories)
    blocks = [_covariate_block(study, c, trajectories, scales) for c in covariates.values()] + blocks_of(study, trajectories, scales)
    compiled = {**covariates, **compiled}
    results, imputed = augment.sample(study, trajectories, blocks, find(study, trajectories, compiled), **how)
    named = dict(zip(compiled, results, strict=True))
    return assemble(study, trajectories, scales, compiled, named, seed=how["seed"], engine="nuts", imputed=imputed)


def _with_conflict(posterior: Posterior, borrowed: Borrowed, warmup: int) -> Posterior:
    from .conflict import box_conflict  # builds on this module

    return box_conflict(dataclasses.replace(posterior, borrowed=borrowed), warmup)


def _block(study: Study, compiled: CompiledResponse, trajectories: Trajectories, scales: dict[str, Scale]) -> nuts.Block:
    """A response's data: every patient a row, those without the response of weight 0."""
    seen = trajectories.observed(compiled.name)
    inputs = inputs_of(compiled, trajectories, scales)
    y = np.nan_to_num(trajectories.columns[compiled.name].astype(float)[stand_ins(seen)], nan=0.0)
    block = nuts.Block(compiled, inputs, y, seen.astype(float))
    if isinstance(study[compiled.name].model, UserModel):  # type: ignore[union-attr]
        known = np.all([trajectories.observed(n) for n in (compiled.name, *compiled.history)], axis=0)
        if isinstance(compiled, LinkedResponse):
            _check_support(nuts.Block(compiled.own, inputs | {EFFECT_INPUT: np.zeros(trajectories.n)}, y, block.weight * known), trajectories)
        else:
            _check_support(nuts.Block(compiled, inputs, y, block.weight * known), trajectories)
    return block


def _joint(blocks: list[nuts.Block]) -> nuts.Block:
    """One block of responses that share something."""
    joint = joint_of(tuple(b.compiled.own for b in blocks if isinstance(b.compiled, LinkedResponse)))
    inputs = {joint_input(b.compiled.name, n): b.inputs[n] for b in blocks for n in b.compiled.inputs if n in b.compiled.own.inputs}
    return nuts.Block(joint, inputs, np.stack([b.y for b in blocks]), np.stack([b.weight for b in blocks]))


def apart(study: Study, results: list[nuts.Draws]) -> list[nuts.Draws]:
    """Draws of every response in time order, from those of the blocks of :func:`blocks_of`."""
    if not study.shared:
        return results
    alone = [r.name for r in study.responses if r.name not in study.shared]
    found = dict(zip(alone, results, strict=False))
    shared = results[-1]
    for name in study.shared:
        mine = {n.removeprefix(f"{name}::"): v for n, v in shared.values.items() if n.startswith(f"{name}::")}
        found[name] = nuts.Draws(mine, shared.stats)
    return [found[r.name] for r in study.responses]


def _covariate_block(study: Study, compiled: CompiledResponse, trajectories: Trajectories, scales: dict[str, Scale]) -> nuts.Block:
    """A covariate's model with its data: every patient a row, those who lack it of weight 0."""
    columns = {**trajectories.columns, INTAKE: np.zeros(trajectories.n, dtype=np.int64)}
    begun = Trajectories.of(trajectories.ids, columns, cluster=trajectories.cluster, cluster_labels=trajectories.cluster_labels)
    own = covariate_study(study, compiled.name)
    return _block(own, compiled, begun, covariate_scales(study, trajectories, scales, compiled.name))


def _check_support(block: nuts.Block, trajectories: Trajectories) -> None:
    """Data that a user-written model gives no probability, wherever its parameters are, are refused with their value.

    Raises
    ------
    DataError
    """
    compiled, name = block.compiled, block.compiled.name
    with double_precision():
        rows = jax.jit(lambda inputs, y: compiled.log_density(compiled.initial(inputs), inputs, y)[0])(dict(block.inputs), block.y)
    bad = ~np.isfinite(np.broadcast_to(np.asarray(rows), block.y.shape))
    if compiled.whole:
        bad |= block.y != np.round(block.y)
    if (where := np.flatnonzero(bad & (block.weight > 0))).size:
        raise DataError(
            f"Column {name!r}: {block.y[where[0]]:g} (patient {trajectories.ids[where[0]]}) cannot come from the response's model, "
            f"which ends in a {compiled.distribution!r} distribution; correct the value or the model."
        )


def stand_ins(seen: np.ndarray) -> np.ndarray:
    """For each patient the row to read: the own one, or the first patient observed, so that a row of weight 0 is never outside a support."""
    return np.where(seen, np.arange(len(seen)), int(seen.argmax()))


def inputs_of(compiled: CompiledResponse, trajectories: Trajectories, scales: dict[str, Scale]) -> dict[str, np.ndarray]:
    """A response's inputs, a row per patient; unobserved histories are stood in for."""
    rows = stand_ins(trajectories.observed(compiled.name))
    cluster = None if trajectories.cluster is None else trajectories.cluster[rows]
    extras = {name: values[rows] for name, values in trajectories.extras.items()}
    return make_inputs(compiled, trajectories.history(compiled.history, rows), cluster, scales, extras)


def blocks_of(
    study: Study, trajectories: Trajectories, scales: dict[str, Scale], borrowed: Borrowed | None = None, only: Collection[str] | None = None
) -> list[nuts.Block]:
    """What is sampled: a block for each response (of `only` some), rows of borrowed patients last; responses that share something are the last."""
    made = []
    for response in (r for r in study.responses if only is None or r.name in only):
        compiled = compile_response(study, response.name, trajectories.cluster_labels)
        block = _block(study, compiled, trajectories, scales)
        if borrowed is not None and borrowed.a0[response.name]:
            more = _block(study, compiled, borrowed.trajectories, scales)
            inputs = {n: np.concatenate([v, more.inputs[n]]) if n in compiled.by_row else v for n, v in block.inputs.items()}
            weight = np.concatenate([block.weight, borrowed.weights(response.name)])
            block = nuts.Block(compiled, inputs, np.concatenate([block.y, more.y]), weight)
        made.append(block)
    linked = [b for b in made if isinstance(b.compiled, LinkedResponse)]
    return [b for b in made if not isinstance(b.compiled, LinkedResponse)] + ([_joint(linked)] if linked else [])


def _exact(study: Study, trajectories: Trajectories, draws: int, seed: int, chains: int, borrowed: Borrowed | None) -> list[nuts.Draws]:
    """Independent draws, dealt out to chains so that the same tools read them."""
    per_chain = -(-draws // chains)
    results = []
    for response in study.responses:
        drawn = exact.draw(study, trajectories, response, size=per_chain * chains, seed=seed, borrowed=borrowed)
        results.append(nuts.Draws({n: v.reshape(chains, per_chain, *v.shape[1:]) for n, v in drawn.items()}, {}))
    return results


def posterior_dataset(compiled: dict[str, CompiledResponse], results: dict[str, nuts.Draws]) -> xr.Dataset:
    """One flat dataset; a response's own dims and coordinates carry its name."""
    variables, coords = {}, {}
    for name, model in compiled.items():
        for parameter, values in results[name].values.items():
            dims = model.dims.get(parameter, ())
            named = tuple(variable(name, d) for d in dims) or tuple(variable(name, f"{parameter}_{i}") for i in range(values.ndim - 2))
            variables[variable(name, parameter)] = ((CHAIN, DRAW, *named), values)
            coords |= {variable(name, d): np.array(model.coords[d], dtype=np.str_) for d in dims}
    sizes = next((v[1].shape[:2] for v in variables.values()), (1, 1))
    return xr.Dataset(variables, coords={CHAIN: np.arange(sizes[0]), DRAW: np.arange(sizes[1]), **coords})


def _imputed_dataset(study: Study, trajectories: Trajectories, lost: Mapping[str, np.ndarray], imputed: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Drawn values ``variable::missing`` by the patients who lack them; codes for labelled variables, which the attribute ``labels`` explains."""
    variables, coords = {}, {}
    for name, rows in lost.items():
        dim, labels = variable(name, PATIENT), labels_of(study[name])
        variables[variable(name, "missing")] = ((CHAIN, DRAW, dim), imputed[name], {} if labels is None else {"labels": json.dumps(list(labels))})
        coords[dim] = trajectories.ids[rows]
    return xr.Dataset(variables, coords=coords)


def stats_dataset(results: dict[str, nuts.Draws]) -> xr.Dataset | None:
    """Sampler statistics: over all blocks under the usual names, and per response."""
    single = {variable(name, d): v for name, r in results.items() for d, v in r.diagnostics.items()}
    blocks = {name: r.stats for name, r in results.items() if r.stats}
    if not blocks:
        return xr.Dataset(attrs=single) if single else None
    stack = {s: np.stack([b[s] for b in blocks.values()]) for s in next(iter(blocks.values()))}
    joint = {
        "diverging": stack["diverging"].any(axis=0), "n_steps": stack["n_steps"].sum(axis=0), "lp": stack["lp"].sum(axis=0),
        "energy": stack["energy"].sum(axis=0), "acceptance_rate": stack["acceptance_rate"].mean(axis=0),
        "tree_depth": np.ceil(np.log2(stack["n_steps"].max(axis=0) + 1)).astype(int),
    }
    each = {variable(name, s): v for name, b in blocks.items() for s, v in b.items()}
    return xr.Dataset({n: ((CHAIN, DRAW), v) for n, v in {**joint, **each}.items()})


def replicate(
    compiled: CompiledResponse, draws: dict[str, np.ndarray], trajectories: Trajectories, scales: dict[str, Scale], seed: int,
    imputed: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> np.ndarray:
    """Replicated data of one response given each patient's own history, shape (draw, patient).

    `imputed` holds, by variable, the rows and the values ``(draw, entry)`` of what is missing of the histories.
    """
    inputs = inputs_of(compiled, trajectories, scales)
    size = len(next(iter(draws.values()))) if draws else 1
    rng = np.random.default_rng([seed, zlib.crc32(compiled.name.encode()), 1])
    rows = {n: np.broadcast_to(v, (size, *v.shape)) if v.ndim else v for n, v in inputs.items()}
    stand = stand_ins(trajectories.observed(compiled.name))
    for name in set(imputed or {}) & set(compiled.history):
        where, values = (imputed or {})[name]
        column = np.repeat(trajectories.columns[name][None], size, axis=0)
        column[:, where] = values
        rows[name] = column[:, stand]
    return evaluate_paired(compiled, draws, rows, "sample", rng.random((size, trajectories.n)))


def assemble(
    study: Study, trajectories: Trajectories, scales: dict[str, Scale], compiled: dict[str, CompiledResponse], results: dict[str, nuts.Draws],
    *, seed: int, engine: str, imputed: Mapping[str, np.ndarray] | None = None,
) -> Posterior:
    """Put draws of every response, of modelled covariates and of missing values together: label, replicate, check."""
    dataset = posterior_dataset(compiled, results)
    chains, per_chain = dataset.sizes[CHAIN], dataset.sizes[DRAW]
    step = -(-per_chain * chains // max(100, min(REPLICATES, MOST_REPLICATED // trajectories.n)))
    kept = range(0, per_chain, step)
    replicates = {}
    lost = {n: np.flatnonzero(w) for n, w in gaps(study, trajectories.columns).items()} if imputed else {}
    drawn_too = {n: (w, (imputed or {})[n][:, ::step].reshape(-1, w.size)) for n, w in lost.items()}
    responses = {r.name: compiled[r.name] for r in study.responses}
    for name, model in responses.items():
        arrays = {p: dataset[stored(name, p)].values[:, ::step] for p in model.parameters}
        some = {p: v.reshape(-1, *v.shape[2:]) for p, v in arrays.items()}
        drawn = replicate(model, some, trajectories, scales, seed, drawn_too)
        replicates[name] = np.broadcast_to(drawn, (chains * len(kept), trajectories.n)) if not model.parameters else drawn
    groups = {
        POSTERIOR: dataset,
        PREDICTIVE: xr.Dataset(
            {
                n: ((CHAIN, DRAW, PATIENT), np.where(trajectories.observed(n), v.reshape(chains, len(kept), -1), np.nan))
                for n, v in replicates.items()
            },
            coords={CHAIN: np.arange(chains), DRAW: np.array(kept), PATIENT: trajectories.ids},
        ),
        OBSERVED: xr.Dataset({n: (PATIENT, trajectories.columns[n]) for n in responses}, coords={PATIENT: trajectories.ids}),
        TRAJECTORIES: trajectories.to_dataset(study),
    }
    if imputed:
        groups[IMPUTED] = _imputed_dataset(study, trajectories, lost, imputed).assign_coords({CHAIN: dataset[CHAIN], DRAW: dataset[DRAW]})
    if (stats := stats_dataset(results)) is not None:
        groups[SAMPLE_STATS] = stats.assign_coords({CHAIN: dataset[CHAIN], DRAW: dataset[DRAW]})
    tree = xr.DataTree.from_dict(groups)
    return Posterior(study, trajectories, tree, scales, int(seed), engine, examine(study, trajectories, tree, replicates))
