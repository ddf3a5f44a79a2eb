"""Interim looks at simulated trials with covariates, and what engines of looks say of them: the material of an engine's gates.

The trials are the gallery's physical activity SMART, adaptive throughout, and the same with outcomes known two weeks after each decision, since
with the declared delays hardly any final outcome is known before recruitment is over. What they allocate by is a plain Beta posterior per option,
written here, so that the looks are the same whatever becomes of the engines on trial.
"""

import functools
from dataclasses import dataclass

import numpy as np

import bayesdtr as dtr
from bayesdtr.gallery import activity_smart
from bayesdtr.trial.analysis import Drawn
from bayesdtr.trial.analysis.nuts import NutsAnalyst
from bayesdtr.trial.course import Course
from bayesdtr.trial.nature import bind
from bayesdtr.trial.observed import Observed

STUDY = activity_smart.study
SIZE = 200
LOOKS = 11
"""Ten looks, and the final analysis."""
FAST = dtr.Calendar(dtr.PoissonAccrual(10.0), delays={"active8": 1.0, "active24": 1.0}, unit="week")
GROUPS = (("declared", "no difference", 3), ("declared", "tailoring helps", 3), ("fast", "no difference", 7), ("fast", "tailoring helps", 7))
"""Calendar, scenario, and how many trials are looked at at each look."""
ASKED = 3
"""Patients of each look whose options are asked about at either decision: those who come to it next."""
DECISIONS = ("first", "second")
QUANTITIES = ("regimes", *DECISIONS)
CHAINS, DRAWS = 4, 4096


class Plain:
    """Allocates by independent Betas: successes are the final outcome, or the first response while that is not known."""

    def look(self, data: Observed, replicates: np.ndarray, look: int) -> "Plain":
        """Count."""
        final, early = data.columns["active24"], data.columns["active8"]
        worth = np.where(np.isnan(final), early, final)
        counts = []
        for name, options, y in (("start", 2, worth), ("next", 3, final)):
            mine = (data.columns[name][..., None] == np.arange(options)) & ~np.isnan(y)[..., None]
            counts.append(np.stack([(mine * np.nan_to_num(v)[..., None]).sum(axis=1) for v in (y, 1 - y)]))
        self.counts, self.replicates, self.at = counts, replicates, look
        return self

    def regimes(self) -> Drawn:
        """Nothing rests on regimes' values."""
        return Drawn(np.zeros((len(self.replicates), 32, 4)))

    def options(self, decision, trial, columns, feasible) -> Drawn:
        """Draws of success probabilities of the options."""
        yes, no = self.counts[decision]
        draws = np.stack([np.random.default_rng([5, r, self.at, decision]).beta(1 + y[:, None], 1 + n[:, None], (len(y), 512)).T
                          for r, y, n in zip(self.replicates, yes, no, strict=True)])
        return Drawn(np.where(feasible[:, None, :], draws[trial], -np.inf))


@dataclass(frozen=True, eq=False)
class Interim:
    """Interim looks, one of each trial.

    Attributes
    ----------
    data : Observed
    look : array of int, shape (trial,)
    asked : tuple of (trial, columns, feasible)
        For each decision: patients, as engines are asked about them.
    """

    data: Observed
    look: np.ndarray
    asked: tuple


class _Seen:
    """An engine that keeps what it was shown."""

    def __init__(self, engine):
        self.engine, self.kept = engine, []

    def look(self, data, replicates, look):
        self.kept.append((data, look))
        return self.engine.look(data, replicates, look)


def _group(calendar, scenario, count, seed):
    design = activity_smart.design
    nature = bind(design, next(s for s in activity_smart.scenarios if s.name == scenario), calendar=FAST if calendar == "fast" else None)
    trials = np.arange(count * LOOKS)
    seen = _Seen(Plain())
    course = Course(design, nature, seen, trials, seed=seed, keep="summary")
    course.run()
    assert [look for _, look in seen.kept] == list(range(LOOKS))
    at = trials % LOOKS
    parts = [data.take(np.flatnonzero(at == look)) for data, look in seen.kept]
    order = np.concatenate([np.flatnonzero(at == look) for look in range(LOOKS)])
    return _joined(parts), at[order], [{n: v[t] for n, v in course.state.columns.items()} for t in order]


def _joined(parts):
    columns = {n: np.concatenate([p.columns[n] for p in parts]) for n in parts[0].columns}
    return Observed(columns, None, np.concatenate([p.period for p in parts]), np.concatenate([p.enrolled for p in parts]))


@functools.lru_cache(maxsize=2)
def interim(most: int | None = None) -> Interim:
    """All groups' looks, in an order in which the first `most` hold some of each."""
    found = [_group(*group, seed=31 + i) for i, group in enumerate(GROUPS)]
    data, look = _joined([f[0] for f in found]), np.concatenate([f[1] for f in found])
    whole = [c for f in found for c in f[2]]
    order = np.random.default_rng(3).permutation(len(look))[:most]
    data, look, whole = data.take(order), look[order], [whole[i] for i in order]
    return Interim(data, look, tuple(_asked(decision, data, whole) for decision in range(2)))


def _asked(decision, data, whole):
    """The next patients who come to a decision, the first ones again where there are none left."""
    name = STUDY.decisions[decision].name
    before = [n.name for n in STUDY.before(name)]
    trial, columns = [], {n: [] for n in before}
    for i, course in enumerate(whole):
        come = np.flatnonzero(course["active8"] == 0) if decision else np.arange(SIZE)
        waiting = data.columns[name][i][come] < 0
        next_ = np.concatenate([come[waiting], come[~waiting]])[:ASKED]
        trial += [i] * len(next_)
        for n in before:
            columns[n].append(course[n][next_])
    columns = {n: np.concatenate(v) for n, v in columns.items()}
    return np.array(trial), columns, np.broadcast_to(STUDY.feasible(name, columns or {"": np.zeros(len(trial))}), (len(trial), len(
        STUDY.decisions[decision].options)))


def answers(look, given: Interim) -> dict:
    """Values of the regimes, and of each decision's options for the patients asked about, by name."""
    return {"regimes": look.regimes()} | {n: look.options(d, *given.asked[d]) for d, n in enumerate(DECISIONS)}


def summaries(values) -> dict:
    """What is compared: P(best) with its Monte Carlo error, means and SDs, ``[batch, entry]``."""
    p, error = values.p_best()
    return {"p": p, "error": error, "mean": values.mean(), "sd": values.sd()}


def one_chain(engine: NutsAnalyst, given: Interim, chain: int) -> dict:
    """Answers of one chain a look and response, ``{quantity: {summary: [batch, entry]}}``; trees of a few trials at a time, to save memory."""
    number = np.arange(given.data.size) + chain * 100_000
    parts = []
    for begin in range(0, given.data.size, 20):
        some = np.arange(begin, min(begin + 20, given.data.size))
        part = Interim(given.data.take(some), given.look[some], tuple(_some(a, some) for a in given.asked))
        parts.append({q: summaries(v) for q, v in answers(engine.look(part.data, number[some], 0), part).items()})
    return {q: {s: np.concatenate([p[q][s] for p in parts]) for s in parts[0][q]} for q in QUANTITIES}


def _some(asked, trials):
    trial, columns, feasible = asked
    mine = np.isin(trial, trials)
    return trial[mine] - trials[0], {n: v[mine] for n, v in columns.items()}, feasible[mine]


@dataclass(frozen=True)
class Gap:
    """How far an engine's P(best) lie from NUTS's, over the looks or patients asked about; of several entries the furthest counts.

    Attributes
    ----------
    raw : float
        95th percentile of the distance.
    noise : float
        What it would be from the Monte Carlo error of NUTS alone.
    largest : float
    disagree : float
        Share where another entry has the largest P(best).
    beyond : float
        Share where, moreover, NUTS's two probabilities are further apart than 3 Monte Carlo errors of their difference.
    shift, spread : float
        Root mean square of the differences of posterior means, in posterior SDs, and of the logarithms of the ratio of the SDs.
    """

    raw: float
    noise: float
    largest: float
    disagree: float
    beyond: float
    shift: float
    spread: float

    @property
    def net(self) -> float:
        """95th percentile once NUTS's Monte Carlo error is taken off."""
        return float(np.sqrt(max(self.raw**2 - self.noise**2, 0.0)))


def gap(ours: dict, chains: dict) -> Gap:
    """Compare an engine's :func:`summaries` with those of NUTS's chains, ``[chain, batch, entry]``."""
    p, count = chains["p"].mean(axis=0), len(chains["p"])
    error = np.sqrt((chains["error"] ** 2).sum(axis=0)) / count
    apart = np.abs(ours["p"] - p).max(axis=1)
    # Errors of the entries' probabilities sum to 0 and are largest for two of them: one normal number each, the furthest as above.
    chance = np.abs(np.random.default_rng(1).normal(size=(200, len(p))) * error.max(axis=1))
    best, wanted = ours["p"].argmax(axis=1), p.argmax(axis=1)
    other = best != wanted
    rows = np.arange(len(p))
    clear = p[rows, wanted] - p[rows, best] > 3 * (error[rows, wanted] + error[rows, best])
    possible = np.isfinite(ours["mean"])
    with np.errstate(all="ignore"):
        shift = ((ours["mean"] - chains["mean"].mean(axis=0)) / chains["sd"].mean(axis=0))[possible]
        spread = np.log(ours["sd"] / chains["sd"].mean(axis=0))[possible]
    rms = lambda v: float(np.sqrt((v**2).mean()))  # noqa: E731
    return Gap(float(np.quantile(apart, 0.95)), float(np.quantile(chance, 0.95)), float(apart.max()), float(other.mean()),
               float((other & clear).mean()), rms(shift), rms(spread))


def table(gaps: dict) -> str:
    """Gaps by name, a line each."""
    head = "                 95th pct of |dP|: raw  NUTS noise   net   largest | other best  beyond noise | rms dmean/sd  rms dlog sd"
    return "\n".join([head, *(f"{n:32s} {g.raw:9.4f} {g.noise:8.4f} {g.net:8.4f} {g.largest:8.4f} | {g.disagree:9.4f} {g.beyond:9.4f} |"
                              f"      {g.shift:9.4f} {g.spread:9.4f}" for n, g in gaps.items())])
