"""Engines on trial beside NUTS: interim looks of simulated trials of two options, and how far P(best) lies apart.

A look has between 40 and 100 of 100 patients with an outcome, some more who are treated and wait for theirs, and others who
have not come yet. Baselines are realistic and effects modest, so that P(best) is spread over (0, 1); drawing
parameters from vague priors would give trials that nobody runs.
"""

import functools
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats

import bayesdtr as dtr
from bayesdtr.inference import laplace, nuts
from bayesdtr.inference.fits import DEPTH, _history_inputs
from bayesdtr.inference.nuts import Block
from bayesdtr.inference.pareto import LARGEST_KHAT
from bayesdtr.inference.stack import stacked
from bayesdtr.model import compile_response
from bayesdtr.model.distributions import mean_and_variance
from bayesdtr.runtime import double_precision

LOOKS = 200
ROOM = 100
LEAST = 40
AVERAGE = [{"x1": 0.0, "x2": 0.0, "a": option} for option in ("old", "new")]
"""A patient with the covariates' means under either option."""
LARGEST_GAP = 0.02
"""95th percentile of the distance between the engine's and NUTS's P(best)."""
CLOSE = 0.03
"""Decisions are compared where NUTS's P(best) is further than this from one half."""
LEAST_SHARE = 0.99
LEAST_ESS = 10_000
WARMUP, DRAWS = 400, 3500
LEVELS = ["none", "mild", "moderate", "severe"]
KINDS = ["home", "ward", "clinic"]


def _sigmoid(v):
    return 1 / (1 + np.exp(-v))


def _gamma_poisson(rng, mean, dispersion):
    return rng.poisson(mean * rng.gamma(dispersion**-2, dispersion**2, mean.shape)).astype(float)


def _categories(rng, eta):
    """Softmax of 0 and two predictors that move apart with the effect."""
    p = np.exp(np.stack([np.zeros_like(eta), 0.3 + eta, -0.2 - 0.6 * eta], axis=-1))
    edges = np.cumsum(p / p.sum(axis=-1, keepdims=True), axis=-1)
    return (rng.random(eta.shape)[..., None] > edges[..., :-1]).sum(axis=-1).astype(float)


def _levels(rng, eta):
    latent = eta + rng.logistic(size=eta.shape)
    return np.searchsorted([-0.8, 0.4, 1.6], latent).astype(float)


def _zeros(rng, eta, positive, rate=-0.7):
    """Extra zeros, fewer where the effect is larger."""
    return np.where(rng.random(eta.shape) < _sigmoid(rate - 0.5 * eta), 0.0, positive)


def _truncated(rng, draw, mean):
    """Counts above 0."""
    y = draw(rng, mean)
    for _ in range(200):
        y = np.where(y > 0, y, draw(rng, mean))
    return np.maximum(y, 1.0)


def _poisson(rng, mean):
    return rng.poisson(mean).astype(float)


def _overdispersed(rng, mean):
    return _gamma_poisson(rng, mean, 0.7)


@dataclass(frozen=True)
class Case:
    """A family as a gate tries it.

    `outcome` takes a generator and linear predictors (centred at 0 for an average patient) and returns outcomes; `effect` is the
    SD of the difference between the options, in units of the predictor; `censored` times have follow-up between 1 and 4.
    """

    family: dtr.Normal
    outcome: Callable
    effect: float
    utility: object = "y"
    censored: bool = False


def _worth(labels):
    return dtr.Utility({"y": dict(zip(labels, range(len(labels)), strict=True))})


def _time(draw):
    return lambda rng, eta: np.maximum(np.exp(0.7 + eta) * draw(rng, eta.shape), 1e-3)


CASES = {
    "normal": Case(dtr.Normal(), lambda rng, eta: 3 + 2 * eta + 2 * rng.normal(size=eta.shape), 0.4),
    "t": Case(dtr.StudentT(), lambda rng, eta: 3 + 2 * eta + 1.5 * rng.standard_t(4, size=eta.shape), 0.4),
    "log-normal": Case(dtr.LogNormal(), lambda rng, eta: np.exp(1 + eta + 0.8 * rng.normal(size=eta.shape)), 0.3),
    "bernoulli": Case(dtr.Bernoulli(), lambda rng, eta: (rng.random(eta.shape) < _sigmoid(eta - 0.4)).astype(float), 0.7),
    "beta-binomial": Case(
        dtr.BetaBinomial(7), lambda rng, eta: rng.binomial(7, rng.beta(5 * _sigmoid(eta), 5 * _sigmoid(-eta))).astype(float), 0.5),
    "ordinal": Case(dtr.Ordinal(LEVELS), _levels, 0.7, _worth(LEVELS)),
    "categorical": Case(dtr.Categorical(KINDS), _categories, 0.7, _worth(KINDS)),
    "poisson": Case(dtr.Poisson(), lambda rng, eta: _poisson(rng, np.exp(0.6 + eta)), 0.25),
    "negative binomial": Case(dtr.NegativeBinomial(), lambda rng, eta: _overdispersed(rng, np.exp(0.9 + eta)), 0.35),
    "inflated poisson": Case(dtr.ZeroInflated(dtr.Poisson()), lambda rng, eta: _zeros(rng, eta, _poisson(rng, np.exp(0.9 + eta))), 0.35),
    "inflated negative binomial": Case(
        dtr.ZeroInflated(dtr.NegativeBinomial()), lambda rng, eta: _zeros(rng, eta, _overdispersed(rng, np.exp(1.2 + eta))), 0.4),
    "hurdle poisson": Case(dtr.Hurdle(dtr.Poisson()), lambda rng, eta: _zeros(rng, eta, _truncated(rng, _poisson, np.exp(0.6 + eta))), 0.35),
    "hurdle negative binomial": Case(
        dtr.Hurdle(dtr.NegativeBinomial()), lambda rng, eta: _zeros(rng, eta, _truncated(rng, _overdispersed, np.exp(0.9 + eta))), 0.4),
    "hurdle log-normal": Case(
        dtr.Hurdle(dtr.LogNormal()), lambda rng, eta: _zeros(rng, eta, np.exp(1 + eta + 0.8 * rng.normal(size=eta.shape))), 0.35),
    "weibull": Case(
        dtr.Survival("weibull", event="event"), _time(lambda rng, size: rng.weibull(1.3, size)), 0.35, dtr.SurvivalAt("y", at=2.0), True),
    "log-normal time": Case(
        dtr.Survival("lognormal", event="event"), _time(lambda rng, size: np.exp(0.8 * rng.normal(size=size))), 0.35,
        dtr.SurvivalAt("y", at=2.0), True),
    "piecewise": Case(
        dtr.Survival("piecewise", event="event", breaks=[0.5, 1.5]), _time(lambda rng, size: rng.weibull(1.2, size)), 0.4,
        dtr.SurvivalAt("y", at=2.0), True),
}


def study(case: Case) -> dtr.Study:
    """Two covariates, two options, default priors."""
    return dtr.Study(
        dtr.Baseline("x1"), dtr.Baseline("x2"), dtr.Decision("a", ["old", "new"]), dtr.Response("y", case.family), utility=case.utility)


def looks(case: Case, count: int = LOOKS, seed: int = 1) -> dict[str, np.ndarray]:
    """Interim looks as :func:`bayesdtr.fit_many` takes them, arrays of shape (look, patient)."""
    rng = np.random.default_rng(seed)
    shape = (count, ROOM)
    x1, x2, a = rng.normal(size=shape), rng.normal(size=shape), rng.integers(0, 2, shape)
    base, main, first, second = rng.normal(0, [0.15, case.effect, case.effect / 2, case.effect / 2], (count, 4)).T[..., None]
    slope = 0.5 * case.effect
    y = case.outcome(rng, base + slope * (x1 - x2) + (a - 0.5) * (main + first * x1 + second * x2))
    seen = np.arange(ROOM) < rng.integers(LEAST, ROOM + 1, (count, 1))
    come = seen | (np.arange(ROOM) < seen.sum(axis=1, keepdims=True) + 10)
    event = np.ones(shape)
    if case.censored:
        until = rng.uniform(1, 4, shape)
        y, event = np.minimum(y, until), (y <= until).astype(float)
    columns = {"x1": np.where(come, x1, np.nan), "x2": np.where(come, x2, np.nan), "a": np.where(come, a, -1), "y": np.where(seen, y, np.nan)}
    return columns | ({"y::event": event} if case.censored else {})


@dataclass(frozen=True)
class Audit:
    """NUTS's P(the new option is best) and the effective sizes of the contrast behind it, shape (look,)."""

    p_best: np.ndarray
    ess: np.ndarray
    divergences: int
    seconds: float


def _effective(contrast):
    return float(array_stats.ess(contrast[None], method="mean", chain_axis=0, draw_axis=1))


def _contrast_of(compiled, data, rows):
    """Program from seed, look and data to NUTS draws of the expected response under "new" less that under "old".

    One chain in the package's coordinates; target acceptance 0.8 costs a fifth fewer steps than 0.9 for as large an effective size.
    """
    lay_out, start, advance = nuts.programs(compiled, WARMUP, target_accept=0.8, depth=DEPTH)

    def one(seed, number, data):
        made = lay_out(data)
        state = start(seed, number, data, made)
        state = jax.lax.fori_loop(0, WARMUP, lambda _, s: advance(s, data, made, 1)[0], state)
        values, stats = advance(state, data, made, DRAWS)[1]
        inputs = {n: rows.get(n, data[0][n]) for n in compiled.inputs}
        expected = jax.vmap(lambda p: mean_and_variance(compiled.predict(p, inputs))[0])({p: values[p] for p in compiled.parameters})
        return expected[:, 1] - expected[:, 0], jnp.sum(stats["diverging"])

    return jax.jit(one).lower(np.zeros((), np.int64), np.zeros((), np.int64), data).compile()


def audit(declared: dtr.Study, data: dict[str, np.ndarray], *, most: int = 12, seed: int = 77) -> Audit:
    """Run NUTS chains on every look until the contrast has an effective size of 10,000, at most `most` of them.

    The effective sizes of independent chains add up. A chain's is at most its number of draws: antithetic draws are
    worth more than that to a mean, but not to a probability.
    """
    begin = time.perf_counter()
    stack, compiled = stacked(declared, data), compile_response(declared, "y")
    rows = _history_inputs(declared, compiled, AVERAGE, 0)
    p_best, sizes, divergences = np.zeros(stack.size), np.zeros(stack.size), 0
    with double_precision():
        program = _contrast_of(compiled, _of(stack, compiled, 0), rows)
        for i in range(stack.size):
            given = _of(stack, compiled, i)
            chains = []
            while sizes[i] < LEAST_ESS and len(chains) < most:
                contrast, diverging = (np.asarray(v) for v in program(np.int64(seed + len(chains)), np.int64(i), given))
                chains.append(np.mean(contrast > 0) + 0.5 * np.mean(contrast == 0))
                sizes[i] += min(_effective(contrast), DRAWS)
                divergences += int(diverging)
            p_best[i] = np.mean(chains)
    return Audit(p_best, sizes, divergences, time.perf_counter() - begin)


def _of(stack, compiled, i):
    """Inputs, outcomes and weights of one look."""
    inputs, y, weight = stack.data(compiled, slice(i, i + 1))
    return {n: np.asarray(v[0]) for n, v in inputs.items()}, y[0], weight[0]


@dataclass(frozen=True)
class Trial:
    """An engine's answers on the looks."""

    p_best: np.ndarray
    khat: np.ndarray
    seconds: float


def _p_best(fits):
    """P(the new option is best) for an average patient; levels are worth their codes, as in :func:`_worth`."""
    levels = fits.study["y"].family.levels
    return fits.p_best("y", AVERAGE, None if levels is None else dict(zip(levels, range(len(levels)), strict=True)))[:, 1]


def by_many(declared: dtr.Study, data: dict[str, np.ndarray], *, corrected: bool = False, draws: int = 8192) -> Trial:
    """``fit_many(engine="laplace")``; so many draws that their own noise, .011 at the 95th percentile, leaves room for an error of the engine."""
    begin = time.perf_counter()
    fits = dtr.fit_many(declared, data, seed=5, draws=draws, khat=True, corrected=corrected)
    return Trial(_p_best(fits), fits.diagnostics["y"]["khat"], time.perf_counter() - begin)


def by_fit(declared: dtr.Study, data: dict[str, np.ndarray], draws: int = 1000) -> Trial:
    """``fit(engine="laplace")`` with four chains, look by look: its sampler alone, without checks of fit."""
    begin = time.perf_counter()
    stack = stacked(declared, data)
    compiled = compile_response(declared, "y")
    found = []
    for i in range(stack.size):
        block = Block(compiled, *_of(stack, compiled, i))
        found.append(laplace.sample([block], seed=i, draws=draws, chains=4, show=False)[0])
    values = {"y": {n: np.stack([f.values[n].reshape(-1, *f.values[n].shape[2:]) for f in found]) for n in found[0].values}}
    fits = dtr.Fits(declared, values, {}, stack.scales, (), 0, "laplace")
    khat = np.array([f.diagnostics["khat"] for f in found])
    return Trial(_p_best(fits), khat, time.perf_counter() - begin)


ENGINES = {"fit_many corrected": functools.partial(by_many, corrected=True), "fit": by_fit}


@dataclass(frozen=True)
class Figures:
    """What a gate is decided on; shares are of looks."""

    engine: str
    family: str
    gap_95: float
    decisions_equal: float
    khat_below: float
    median_ess: float
    smallest_ess: float
    divergences: int
    seconds: float
    nuts_seconds: float
    largest_gap: float = 0.0
    bias: float = 0.0
    spread: list = field(default_factory=list)

    @property
    def decides(self) -> bool:
        """Whether probabilities and decisions are those of NUTS."""
        return self.gap_95 <= LARGEST_GAP and self.decisions_equal >= LEAST_SHARE

    @property
    def passed(self) -> bool:
        """Whether the gate is open."""
        return self.decides and self.khat_below >= LEAST_SHARE


def figures(engine: str, family: str, trial: Trial, reference: Audit) -> Figures:
    """Compare an engine with NUTS and print the figures as a line of JSON."""
    gap = np.abs(trial.p_best - reference.p_best)
    clear = np.abs(reference.p_best - 0.5) > CLOSE
    away = np.where(reference.p_best > 0.5, 1, -1)
    found = Figures(
        engine, family, float(np.quantile(gap, 0.95)), float(((trial.p_best > 0.5) == (reference.p_best > 0.5))[clear].mean()),
        float((trial.khat < LARGEST_KHAT).mean()), float(np.median(reference.ess)), float(reference.ess.min()),
        reference.divergences, trial.seconds,
        reference.seconds, float(gap.max()), float((away * (trial.p_best - reference.p_best)).mean()),
        np.quantile(reference.p_best, [0.05, 0.25, 0.5, 0.75, 0.95]).round(3).tolist(),
    )
    print(json.dumps({n: round(v, 4) if isinstance(v, float) else v for n, v in asdict(found).items()}))
    return found
