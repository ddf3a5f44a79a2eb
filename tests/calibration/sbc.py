"""Simulation-based calibration: parameters from the prior, data from the parameters, ranks of the truth among posterior draws.

Parameters come from PyMC's own forward sampler and data from the compiled response, so that neither
shares code with the engine that is on trial. (Talts et al. 2018; Modrák et al. 2023: data-dependent
quantities such as the log likelihood find errors that parameters alone do not.)
"""

from dataclasses import dataclass

import numpy as np
import pymc as pm

import bayesdtr as dtr
from bayesdtr.model import compile_response, evaluate_paired
from bayesdtr.model.build import build
from bayesdtr.schema import variable
from bayesdtr.study import Decision, Scale
from bayesdtr.study.timeline import finite_values, labels_of

RANKS = 99
"""Posterior draws that a truth is ranked among."""


def prior_draws(study, response, clusters, size, seed):
    """Parameters of one response from its prior, independent, ``{name: [dataset, ...]}``."""
    model, made, data = build(study, study[response], clusters)
    for name, scale in study.scales:
        for part, value in (("location", scale.location), ("sd", scale.sd)):
            if (key := f"{name}::{part}") in data:
                data[key].set_value(value)
    free = [v for v in model.free_RVs if v is not made.variable]
    drawn = pm.draw(free, draws=size, random_seed=np.random.default_rng(seed))
    return {v.name: np.asarray(d, dtype=float) for v, d in zip(free, drawn, strict=True)}


@dataclass(frozen=True, eq=False)
class Simulated:
    """Data sets with the parameters they came from.

    `columns` ``{name: [dataset, patient]}``; `truth` ``{response: {parameter: [dataset, ...]}}``.
    """

    study: dtr.Study
    clusters: tuple[str, ...]
    columns: dict
    truth: dict


def simulate(study, *, size, patients, seed, clusters=()):
    """Draw `size` data sets from the prior predictive distribution of a study with declared scales.

    Covariates are normal by their scales or uniform over their labels; options are assigned at
    random among the feasible.
    """
    rng = np.random.default_rng([seed, 1])
    columns, truth, scales = {}, {}, dict(study.scales)
    cluster = rng.integers(len(clusters), size=(size, patients)) if clusters else None
    for index, node in enumerate(study.timeline):
        if isinstance(node, Decision):
            flat = {n: c.ravel() for n, c in columns.items()} or {"": np.zeros(size * patients)}
            feasible = study.feasible(node.name, flat)
            columns[node.name] = np.where(feasible, rng.random(feasible.shape), -1).argmax(axis=1).reshape(size, patients)
        elif node in study.responses:
            truth[node.name] = prior_draws(study, node.name, clusters, size, [seed, 2, index])
            compiled = compile_response(study, node.name, clusters)
            inputs = {n: columns[n] for n in compiled.history} | {n: np.full((size, patients), d) for n, d in compiled.extras.items()}
            if clusters:
                inputs["cluster::code"] = cluster
            inputs |= {f"{n}::{part}": np.float64(getattr(s, {"location": "location", "sd": "sd"}[part]))
                       for n, s in scales.items() for part in ("location", "sd")}
            inputs = {n: inputs[n] for n in compiled.inputs}
            columns[node.name] = evaluate_paired(compiled, truth[node.name], inputs, "sample", rng.random((size, patients)))
        elif labels_of(node):
            columns[node.name] = rng.integers(len(finite_values(node)), size=(size, patients))
        else:
            scale = scales[node.name]
            columns[node.name] = rng.normal(scale.location, scale.sd, size=(size, patients))
    return Simulated(study, clusters, columns | ({study.cluster: cluster} if clusters else {}), truth)


def log_likelihood(simulated, response, draws):
    """Log likelihood of each data set under parameters ``{name: [dataset, draw, ...]}``; shape (dataset, draw)."""
    compiled = compile_response(simulated.study, response, simulated.clusters)
    size, count = next(iter(draws.values())).shape[:2]
    columns, scales = simulated.columns, dict(simulated.study.scales)
    wide = lambda a: np.repeat(a, count, axis=0)  # noqa: E731
    inputs = {n: wide(columns[n]) for n in compiled.history}
    inputs |= {n: np.full((size * count, columns[response].shape[1]), d) for n, d in compiled.extras.items()}
    if simulated.clusters:
        inputs["cluster::code"] = wide(columns[simulated.study.cluster])
    inputs |= {f"{n}::{p}": np.float64(getattr(s, p)) for n, s in scales.items() for p in ("location", "sd")}
    inputs = {n: inputs[n] for n in compiled.inputs}
    flat = {n: v.reshape(size * count, *v.shape[2:]) for n, v in draws.items()}
    rows = evaluate_paired(compiled, flat, inputs, "log_density", wide(columns[response]))
    return rows.sum(axis=1).reshape(size, count)


def ranks(simulated, fits, *, thin):
    """Ranks of the truth, 0 to RANKS, of every parameter and of the log likelihood: ``{quantity: [dataset]}``."""
    found = {}
    rng = np.random.default_rng(0)
    for response, truth in simulated.truth.items():
        drawn = {p: fits.draws[response][p][:, thin - 1 :: thin][:, :RANKS] for p in truth}
        for p, value in truth.items():
            below = (drawn[p] < value[:, None]).sum(axis=1)
            ties = (drawn[p] == value[:, None]).sum(axis=1)
            rank = below + rng.integers(0, ties + 1)
            for i in np.ndindex(rank.shape[1:]):
                found[f"{variable(response, p)}{list(i) if i else ''}"] = rank[(slice(None), *i)]
        both = {p: np.concatenate([value[:, None], drawn[p]], axis=1) for p, value in truth.items()}
        logp = log_likelihood(simulated, response, both)
        found[variable(response, "log likelihood")] = (logp[:, 1:] < logp[:, :1]).sum(axis=1)
    return found


def extremeness(rank, count=RANKS):
    """How far an empirical distribution of ranks is from uniform: the smallest two-sided binomial tail of its ECDF; shape (...)."""
    from scipy.stats import binom

    size = rank.shape[-1]
    counts = np.stack([(rank <= z).sum(axis=-1) for z in range(count)], axis=-1)
    p = (np.arange(count) + 1) / (count + 1)
    return np.minimum(binom.cdf(counts, size, p), binom.sf(counts - 1, size, p)).min(axis=-1)


def threshold(size, quantities, *, level=0.01, count=RANKS, replicates=40_000):
    """Extremeness that uniform ranks of `quantities` quantities stay above with probability ``1 - level`` (Bonferroni), by simulation."""
    rng = np.random.default_rng(7)
    drawn = np.concatenate([extremeness(rng.integers(0, count + 1, size=(500, size)), count) for _ in range(replicates // 500)])
    return np.quantile(drawn, level / quantities)


def declared(family, utility, **how):
    """A one-decision study of a family with every scale declared, three options and a covariate."""
    scales = {"x": Scale(0.0, 1.0)}
    if family.support is None:
        scales["y"] = Scale(1.0, 1.0)
    return dtr.Study(
        dtr.Baseline("x"), dtr.Decision("a", ["p", "q", "r"]), dtr.Response("y", family, **how), utility=utility, scales=scales,
    )
