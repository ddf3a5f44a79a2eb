"""Simulation-based calibration of engines of looks: parameters from the prior, adaptive trials up to an interim look, ranks of the truth.

Allocation goes by success rates that are known at the time, so that, given what is known at a look, it says nothing more of the parameters.
Ranks are those of probability integral transforms: the posterior probability of less than the truth, in hundredths. Parameters' come from draws,
contrasts' from what stopping rules and allocation ask of an engine, so that whatever it does to its draws is on trial too.
"""

from dataclasses import dataclass

import numpy as np
from look_gates import SIZE, STUDY
from sbc import RANKS, prior_draws

from bayesdtr.model import compile_response, evaluate_paired, make_inputs
from bayesdtr.trial.analysis.looked import DrawnLook, TreePrograms
from bayesdtr.trial.observed import Observed

BLOCK = 20
FEWEST = 2
"""Blocks recruited before the earliest look."""
PATIENTS = {"age": np.array([50.0, 65.0]), "steps": np.array([5.0, 3.5])}
"""An average patient, and an older one who walks less."""


@dataclass(frozen=True, eq=False)
class Simulated:
    """Looks with the parameters behind them, ``{response: {parameter: [trial, ...]}}``."""

    data: Observed
    truth: dict


def simulate(size: int, seed: int) -> Simulated:
    """Adaptive trials with parameters from the prior, each up to a look of its own at 40, 60, ... or 200 patients."""
    rng = np.random.default_rng([seed, 1])
    compiled = {r.name: compile_response(STUDY, r.name, ()) for r in STUDY.responses}
    truth = {r.name: prior_draws(STUDY, r.name, (), size, [seed, 2, i]) for i, r in enumerate(STUDY.responses)}
    columns = {"age": rng.normal(50.0, 10.0, (size, SIZE)), "steps": rng.normal(5.0, 1.5, (size, SIZE))}
    columns |= {n: np.full((size, SIZE), -1) for n in ("start", "next")} | {n: np.full((size, SIZE), np.nan) for n in ("active8", "active24")}
    blocks = FEWEST + np.arange(size) % (SIZE // BLOCK - FEWEST + 1)
    # Blocks recruited before a block's first response is known, and before its final outcome is.
    lag = rng.integers(0, 3, (2, size)).cumsum(axis=0)
    for begin in range(0, SIZE, BLOCK):
        here = slice(begin, begin + BLOCK)
        luck = rng.random((4, size, BLOCK))
        final = _by(columns, "active24", begin // BLOCK - lag[1])
        worth = np.where(np.isnan(final), _by(columns, "active8", begin // BLOCK - lag[0]), final)
        columns["start"][:, here] = luck[0] < _favour(columns["start"], worth)[:, None]
        columns["active8"][:, here] = _response(compiled["active8"], truth, columns, here, luck[1])
        second = luck[2] < _favour(columns["next"], final)[:, None]
        columns["next"][:, here] = np.where(columns["active8"][:, here] == 0, second, 2)
        columns["active24"][:, here] = _response(compiled["active24"], truth, columns, here, luck[3])
    enrolled = np.arange(SIZE) < (blocks * BLOCK)[:, None]
    early, late = (np.arange(SIZE) < ((blocks - each) * BLOCK)[:, None] for each in lag)
    for name, known in (("age", enrolled), ("steps", enrolled), ("start", enrolled), ("active8", early), ("next", early), ("active24", late)):
        columns[name] = np.where(known, columns[name], -1 if name in ("start", "next") else np.nan)
    return Simulated(Observed(columns, None, np.where(enrolled, 0, -1), enrolled), truth)


def _by(columns, name, blocks):
    """A response where its block is known, NaN elsewhere."""
    return np.where(np.arange(SIZE) < (blocks * BLOCK)[:, None], columns[name], np.nan)


def _favour(option, y):
    """Probability of option 1: that its success rate is the larger one, by the Normal approximation to Betas; between .1 and .9."""
    from scipy.special import ndtr

    mean, variance = [], []
    for o in (0, 1):
        mine = (option == o) & ~np.isnan(y)
        a, b = 1 + np.where(mine, y, 0).sum(axis=1), 1 + np.where(mine, 1 - y, 0).sum(axis=1)
        mean.append(a / (a + b))
        variance.append(a * b / ((a + b) ** 2 * (a + b + 1)))
    return np.clip(ndtr((mean[1] - mean[0]) / np.sqrt(variance[0] + variance[1])), 0.1, 0.9)


def _response(compiled, truth, columns, here, luck):
    history = {n: columns[n][:, here] for n in compiled.history}
    inputs = make_inputs(compiled, history, None, dict(STUDY.scales))
    return evaluate_paired(compiled, truth[compiled.name], {n: inputs[n] for n in compiled.inputs}, "sample", luck)


def parameter_draws(look, response: str, name: str) -> np.ndarray:
    """An engine's draws of a parameter, ``[trial, draw, ...]``."""
    return look.draws[response][name]


def transforms(look, simulated: Simulated) -> dict[str, np.ndarray]:
    """Posterior probability of less than the truth, ``{quantity: [trial]}``, ties and the steps of draws broken at random."""
    rng = np.random.default_rng(4)
    found = {}
    for response, table in simulated.truth.items():
        for name, true in table.items():
            draws = parameter_draws(look, response, name)
            for i in np.ndindex(true.shape[1:]):
                at = (slice(None), *i)
                found[f"{response}: {name}{list(i) if i else ''}"] = _below(draws[(slice(None), *at)], true[at], rng)
        found[f"{response}: log likelihood"] = _likelihood(look, simulated, response, rng)
    actual = _actual(look, simulated)
    count = next(iter(next(iter(look.draws.values())).values())).shape[1]
    for name, ours, theirs, against in _compared(look, actual):
        wanted = theirs.mean()
        for entry in range(wanted.shape[1]):
            difference = wanted[:, entry] - wanted[:, against]
            if entry != against and np.isfinite(difference).all():
                more = np.array([ours.take(np.array([i])).exceeds(np.array([against]), float(d))[0, entry] for i, d in enumerate(difference)])
                found[f"{name}, {entry} less {against}"] = ((1 - more) * count + rng.random(len(more))) / (count + 1)
        if getattr(ours, "draws", None) is not None:
            for entry in range(wanted.shape[1]):
                if np.isfinite(wanted[:, entry]).all():
                    found[f"{name}, {entry}"] = _below(ours.draws[:, :, entry], wanted[:, entry], rng)
    return found


def _below(draws, truth, rng):
    less = (draws < truth[:, None]).sum(axis=1) + rng.random(len(truth)) * (1 + (draws == truth[:, None]).sum(axis=1))
    return less / (draws.shape[1] + 1)


def _actual(look, simulated):
    """The look with the true parameters as its only draw."""
    compiled = {r.name: compile_response(STUDY, r.name, ()) for r in STUDY.responses}
    draws = {r: {p: simulated.truth[r][p][:, None] for p in c.parameters} for r, c in compiled.items()}
    return DrawnLook(TreePrograms(STUDY, compiled), draws, simulated.data)


def _compared(look, actual):
    """Values of the regimes and of options, by the engine and of the truth, and the entry that others are compared with."""
    size = actual.data.size
    yield "regimes", look.regimes(), actual.regimes(), 0
    for p in range(2):
        columns = {n: np.full(size, v[p]) for n, v in PATIENTS.items()}
        both = np.ones((size, 2), dtype=bool)
        yield f"start, patient {p}", *(each.options(0, np.arange(size), columns, both) for each in (look, actual)), 0
        later = columns | {"start": np.full(size, p), "active8": np.zeros(size)}
        feasible = np.broadcast_to(STUDY.feasible("next", later), (size, 3))
        yield f"next, patient {p}", *(each.options(1, np.arange(size), later, feasible) for each in (look, actual)), 0


def _likelihood(look, simulated, response, rng):
    """Log likelihood of what is known: it depends on the data, and finds errors that parameters alone do not."""
    compiled = compile_response(STUDY, response, ())
    columns, y = simulated.data.columns, simulated.data.columns[response]
    known = ~np.isnan(y)
    fill = {n: np.where(known, columns[n], 0) for n in compiled.history}
    every = {p: parameter_draws(look, response, p)[:, ::2] for p in compiled.parameters}
    both = {p: np.concatenate([simulated.truth[response][p][:, None], v], axis=1) for p, v in every.items()}
    inputs = make_inputs(compiled, fill, None, dict(STUDY.scales))
    inputs = {n: inputs[n] for n in compiled.inputs}
    seen = np.where(known, y, 0.0)
    rows = []
    for d in range(next(iter(both.values())).shape[1]):
        each = evaluate_paired(compiled, {p: v[:, d] for p, v in both.items()}, inputs, "log_density", seen)
        rows.append(np.where(known, each, 0.0).sum(axis=1))
    return _below(np.stack(rows[1:], axis=1), rows[0], rng)


def ranks(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hundredths that transforms fall into, 0 to `RANKS`: uniform if the posterior is right."""
    return {n: np.minimum((u * (RANKS + 1)).astype(int), RANKS) for n, u in found.items()}
