"""Simulation-based calibration: parameters from the prior, data from the parameters, ranks of the truth among posterior draws.

Parameters come from PyMC's own forward sampler and data from the compiled response, so that neither
shares code with the engine that is on trial; a patient's own effect is drawn and used, where the engine
integrates it. (Talts et al. 2018; Modrák et al. 2023: data-dependent quantities such as the log
likelihood find errors that parameters alone do not.)
"""

import functools
import os
import time
from dataclasses import dataclass

import numpy as np
import pymc as pm
from sbc_shared import fit_shared
from sbc_values import decision_quantities, looked_up

import bayesdtr as dtr
from bayesdtr.data.censoring import middle
from bayesdtr.model import compile_response, evaluate_paired, make_inputs
from bayesdtr.model.build import build
from bayesdtr.model.compile import given_effect
from bayesdtr.model.names import EFFECT_INPUT
from bayesdtr.schema import variable
from bayesdtr.study import Decision, Scale
from bayesdtr.study.timeline import finite_values, labels_of

RANKS = 99
"""Posterior draws that a truth is ranked among."""
SIZE = int(os.environ.get("BAYESDTR_SBC_SIZE", 1000))
"""Data sets of each family and structure: 1000 by night, fewer to look quickly (the limit follows)."""
FOLLOW_UP = (1.0, 3.0)
"""Administrative end of follow-up, uniform: patients enrol over two units of time, the trial closes at the third."""
VISIT = 0.5
"""Time between visits, for interval-censored times."""


def prior_draws(study, response, clusters, size, seed):
    """Parameters of one response from its prior, independent, ``{name: [dataset, ...]}``."""
    model, made, data = build(study, study[response], clusters)
    for name, scale in study.scales:
        for part, value in (("location", scale.location), ("sd", scale.sd)):
            if (key := f"{name}::{part}") in data:
                data[key].set_value(value)
    free = [v for v in model.free_RVs if v is not made.variable]
    drawn = pm.draw(free, draws=size, random_seed=np.random.default_rng(seed), mode="FAST_COMPILE")
    return {v.name: np.asarray(d, dtype=float) for v, d in zip(free, drawn, strict=True)}


@dataclass(frozen=True, eq=False)
class Simulated:
    """Data sets with the parameters they came from.

    `columns` ``{name: [dataset, patient]}``, further columns of responses under ``response::role``;
    `truth` ``{response: {parameter: [dataset, ...]}}``.
    """

    study: dtr.Study
    clusters: tuple[str, ...]
    columns: dict
    truth: dict

    @property
    def cluster(self):
        """Codes of clusters, or None."""
        return self.columns[self.study.cluster] if self.study.cluster else None

    def history(self, response):
        """Columns before a response as its model sees them: counts with an exposure as rates, intervals by their middle."""
        found = {}
        for node in self.study.before(response):
            column = middle(self.columns, node.name, self.columns[node.name])
            exposure = self.columns.get(variable(node.name, "exposure"))
            found[node.name] = column if exposure is None else column / exposure
        return found

    def extras(self, compiled):
        """Further inputs of a response's model that the data hold."""
        return {n: self.columns[n] for n in compiled.extras if n in self.columns}


def simulate(study, *, size, patients, seed, clusters=()):
    """Draw `size` data sets from the prior predictive distribution of a study with declared scales.

    Covariates are normal by their scales or uniform over their labels; options are assigned at
    random among the feasible; times are censored by an administrative end of follow-up.
    """
    rng = np.random.default_rng([seed, 1])
    shape, scales = (size, patients), dict(study.scales)
    columns = {study.cluster: rng.integers(len(clusters), size=shape)} if clusters else {}
    made = Simulated(study, clusters, columns, {})
    effect = rng.standard_normal(shape)
    for index, node in enumerate(study.timeline):
        if isinstance(node, Decision):
            flat = {n: c.ravel() for n, c in columns.items()} or {"": np.zeros(size * patients)}
            feasible = study.feasible(node.name, flat)
            columns[node.name] = np.where(feasible, rng.random(feasible.shape), -1).argmax(axis=1).reshape(shape)
        elif node in study.responses:
            made.truth[node.name] = prior_draws(study, node.name, clusters, size, [seed, 2, index])
            columns |= _outcome(made, node, effect, rng)
        elif labels_of(node):
            columns[node.name] = rng.integers(len(finite_values(node)), size=shape)
        else:
            scale = scales[node.name]
            columns[node.name] = rng.normal(scale.location, scale.sd, size=shape)
    return made


def _outcome(made, node, effect, rng):
    """Columns of one response, given the patients' effects where they are shared."""
    shares = node.name in made.study.patient_effects
    compiled = given_effect(made.study, node.name, made.clusters) if shares else compile_response(made.study, node.name, made.clusters)
    extras = {variable(node.name, "exposure"): rng.uniform(0.5, 2.0, size=effect.shape)} if "exposure" in {r for r, *_ in node.columns} else {}
    inputs = make_inputs(_without_effect(compiled), made.history(node.name), made.cluster, dict(made.study.scales), extras)
    if shares:
        inputs[EFFECT_INPUT] = effect
    inputs = {n: inputs[n] for n in compiled.inputs}
    y = evaluate_paired(compiled, looked_up(compiled, made.truth), inputs, "sample", rng.random(effect.shape))
    roles = {role for role, *_ in node.columns}
    if roles & {"event", "upper"}:
        return censored(node.name, y, rng.uniform(*FOLLOW_UP, size=y.shape), interval="upper" in roles)
    return {node.name: y, **extras}


class _without_effect:  # noqa: N801
    """A compiled response that asks for no patient's effect."""

    def __init__(self, compiled):
        self.history, self.extras = compiled.history, compiled.extras
        self.inputs = tuple(n for n in compiled.inputs if n != EFFECT_INPUT)


def censored(name, time, end, *, interval):
    """Columns of times seen up to the end of follow-up, exactly or between visits.

    Under interval censoring events before the first visit are known exactly, so both kinds of rows occur.
    """
    if not interval:
        return {name: np.minimum(time, end), variable(name, "event"): (time <= end).astype(float)}
    last = np.floor(end / VISIT) * VISIT
    low = np.floor(np.minimum(time, last) / VISIT) * VISIT
    exact = time < VISIT
    upper = np.where(time >= last, np.inf, low + VISIT)
    return {name: np.where(exact, time, low), variable(name, "upper"): np.where(exact, time, upper)}


def log_likelihood(simulated, response, draws):
    """Log likelihood of each data set's response given the history; `draws` ``{response: {name: [dataset, draw, ...]}}``; shape (dataset, draw).

    By the laws in JAX, where the engine uses the likelihood written in PyMC.
    """
    compiled = compile_response(simulated.study, response, simulated.clusters)
    mine = looked_up(compiled, draws)
    size, count = next(iter(mine.values())).shape[:2]
    wide = lambda table: {n: np.repeat(a, count, axis=0) for n, a in table.items()}  # noqa: E731
    cluster = None if simulated.cluster is None else np.repeat(simulated.cluster, count, axis=0)
    inputs = make_inputs(compiled, wide(simulated.history(response)), cluster, dict(simulated.study.scales), wide(simulated.extras(compiled)))
    flat = {n: v.reshape(size * count, *v.shape[2:]) for n, v in mine.items()}
    of = lambda what, points: evaluate_paired(compiled, flat, inputs, what, np.repeat(points, count, axis=0))  # noqa: E731
    y = simulated.columns[response]
    event, upper = (simulated.columns.get(variable(response, r)) for r in ("event", "upper"))
    rows = of("log_density", y)
    if event is not None:
        rows = np.where(np.repeat(event, count, axis=0) > 0, rows, of("log_survival", y))
    if upper is not None:
        later, until = of("log_survival", y), np.repeat(upper, count, axis=0)
        inside = np.isfinite(until) & (until > np.repeat(y, count, axis=0))
        end = of("log_survival", np.where(np.isfinite(upper), upper, 1.0))
        with np.errstate(all="ignore"):
            rows = np.where(inside, later + np.log(-np.expm1(np.minimum(end - later, -1e-300))), np.where(np.isinf(until), later, rows))
    return rows.sum(axis=1).reshape(size, count)


def quantities(simulated, drawn, *, thin):
    """Every quantity of the truth (first) and of thinned posterior draws, ``{name: [dataset, 1 + RANKS]}``.

    Parameters, log likelihoods, contrasts between options, and values of regimes.
    """
    both = {}
    for response, truth in simulated.truth.items():
        thinned = {p: drawn[response][p][:, thin - 1 :: thin][:, :RANKS] for p in truth}
        both[response] = {p: np.concatenate([truth[p][:, None], thinned[p]], axis=1) for p in truth}
    found = {}
    for response, table in both.items():
        for p, values in table.items():
            for i in np.ndindex(values.shape[2:]):
                found[f"{variable(response, p)}{list(i) if i else ''}"] = values[(slice(None), slice(None), *i)]
        found[variable(response, "log likelihood")] = log_likelihood(simulated, response, both)
    return found | decision_quantities(simulated.study, simulated.clusters, both)


def ranks(found):
    """Ranks of the truth, 0 to RANKS, ties broken at random: ``{quantity: [dataset]}``."""
    rng = np.random.default_rng(0)
    made = {}
    for name, values in found.items():
        truth, draws = values[:, :1], values[:, 1:]
        made[name] = (draws < truth).sum(axis=1) + rng.integers(0, (draws == truth).sum(axis=1) + 1)
    return made


def stickiness(found):
    """Largest mean correlation between neighbouring thinned draws over all quantities, and whose: what thinning has left."""
    result = {}
    for name, values in found.items():
        centred = values[:, 1:] - values[:, 1:].mean(axis=1, keepdims=True)
        square = (centred**2).mean(axis=1)
        with np.errstate(all="ignore"):
            result[name] = np.nanmedian((centred[:, 1:] * centred[:, :-1]).mean(axis=1) / square)
    worst = max(result, key=result.get)
    return worst, result[worst]


def extremeness(rank, count=RANKS):
    """How far an empirical distribution of ranks is from uniform: the smallest two-sided binomial tail of its ECDF; shape (...)."""
    from scipy.stats import binom

    size = rank.shape[-1]
    counts = np.stack([(rank <= z).sum(axis=-1) for z in range(count)], axis=-1)
    p = (np.arange(count) + 1) / (count + 1)
    return np.minimum(binom.cdf(counts, size, p), binom.sf(counts - 1, size, p)).min(axis=-1)


def threshold(size, quantities, *, level=0.01, count=RANKS, replicates=40_000):
    """Extremeness that uniform ranks of `quantities` quantities stay above with probability ``1 - level`` (Bonferroni), by simulation."""
    return np.quantile(_uniform(size, count, replicates), level / quantities)


@functools.cache
def _uniform(size, count, replicates):
    """Extremeness of uniform ranks, shape (replicate,)."""
    rng = np.random.default_rng(7)
    return np.concatenate([extremeness(rng.integers(0, count + 1, size=(500, size)), count) for _ in range(replicates // 500)])


def declared(family, utility, **how):
    """A one-decision study of a family with every scale declared, three options and a covariate."""
    scales = {"x": Scale(0.0, 1.0)}
    if family.support is None:
        scales["y"] = Scale(0.0 if family.link == "log time" else 1.0, 1.0)
    return dtr.Study(
        dtr.Baseline("x"), dtr.Decision("a", ["p", "q", "r"]), dtr.Response("y", family, **how), utility=utility, scales=scales,
    )


def posteriors(simulated, *, seed, draws, warmup):
    """NUTS draws of every data set, ``{response: {parameter: [dataset, draw, ...]}}``, and diagnostics by response."""
    if not simulated.study.shared:
        fits = dtr.fit_many(simulated.study, simulated.columns, seed=seed, engine="nuts", draws=draws, warmup=warmup,
                            cluster_labels=simulated.clusters)
        return fits.draws, fits.diagnostics
    assert len(simulated.study.shared) == len(simulated.study.responses)
    found, diagnostics = fit_shared(simulated, seed=seed, draws=draws, warmup=warmup)
    return found, {"joint": diagnostics}


def calibrated(name, study, *, patients, seed, clusters=(), thin=2, warmup=200, share=1.0):
    """Simulate, fit, rank; print one line; assert that every quantity keeps within the simultaneous band at 99 %."""
    begin, size = time.perf_counter(), max(100, int(share * SIZE))
    simulated = simulate(study, size=size, patients=patients, seed=seed, clusters=clusters)
    drawn, diagnostics = posteriors(simulated, seed=seed, draws=RANKS * thin, warmup=warmup)
    found = quantities(simulated, drawn, thin=thin)
    broken = [n for n, v in found.items() if not np.isfinite(v).all()]
    limit, extreme = threshold(size, len(found)), {n: extremeness(r) for n, r in ranks(found).items()}
    worst, (sticky, correlation) = min(extreme, key=extreme.get), stickiness(found)
    count = lambda what: sum(float(np.sum(d[what])) for d in diagnostics.values())  # noqa: E731
    print(f"\nSBC {name}: {size} data sets, {len(found)} quantities, most extreme {worst} {extreme[worst]:.2e}, limit {limit:.2e}, "
          f"divergences {count('divergences'):.0f} in {sum(d['divergences'].astype(bool).sum() for d in diagnostics.values())} fits, "
          f"steps {count('steps') / size:.1f}, correlation left {correlation:.2f} ({sticky}), {time.perf_counter() - begin:.0f} s", flush=True)
    assert not broken, broken
    assert extreme[worst] > limit, {n: v for n, v in extreme.items() if v <= limit}
