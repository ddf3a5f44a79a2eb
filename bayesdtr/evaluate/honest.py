"""The honest value: what rules learned on earlier patients achieve in later ones, by the assignment probabilities."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from ..data import Trajectories, gaps, read
from ..decision.learner import Learned
from ..errors import DataError, DecisionError, listing
from ..inference.fit import check_arguments
from ..study.models import Hierarchical, Saturated
from ..study.safety import Safety, SafetyGate
from ..study.study import Study
from ..text import decimal, fold, places
from .learning import lessons
from .propensity import estimated
from .scores import Record, scores

SHUFFLES = 20
FIRST = 2
"""Blocks that are only learned from."""
SPREAD_ROWS = 100
"""Patients among those learned from whose scores tell a block's spread, at most."""
LEAST_PATIENTS = 20
LEAST_ESS = 30.0
"""Effective number of patients who followed the rules, below which the value is called unreliable."""


@dataclass(frozen=True, eq=False)
class HonestValue:
    """The average value of rules learned on earlier patients, judged in later ones.

    Attributes
    ----------
    study : Study
    data_hash : str
        Of the patients, as their trajectories have it.
    mean, se : float
        Over all shuffles; the standard error of one shuffle, which that of their mean does not exceed.
    scored : int
        Patients scored in each shuffle; the others are only learned from.
    values : array, shape (shuffle,)
        The value in each order of the patients.
    followers : float
        Effective number of scored patients whose every option was their rule's, on average over shuffles.
    largest_weight : float
        Largest inverse probability among them.
    estimated : tuple of str
        Decisions that nobody randomized, whose probabilities were estimated.
    trusted : float
        Share of the fits that passed their own checks.
    call : str
        The arguments that make it again.
    ci_prob : float
    safety : Safety, optional
        Gates that the rules heeded.
    """

    study: Study
    data_hash: str
    mean: float
    se: float
    scored: int
    values: np.ndarray
    followers: float
    largest_weight: float
    estimated: tuple[str, ...]
    trusted: float
    call: str
    ci_prob: float = 0.95
    safety: Safety | None = None

    @property
    def lower(self) -> float:
        """Lower end of the Normal confidence interval."""
        return self.mean + self.se * float(ndtri((1 - self.ci_prob) / 2))

    @property
    def upper(self) -> float:
        """Upper end of the Normal confidence interval."""
        return self.mean + self.se * float(ndtri((1 + self.ci_prob) / 2))

    @property
    def spread(self) -> float:
        """SD of the value over orders of the patients; NaN for a single order."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else float("nan")

    @property
    def basis(self) -> str:
        """On what the value rests: the design, or a model of how options were chosen."""
        return f"doubly robust (estimated propensity of {listing(self.estimated)})" if self.estimated else "by the design's assignment probabilities"

    @property
    def reliable(self) -> bool:
        """Whether enough patients followed the rules that were learned."""
        return self.followers >= LEAST_ESS

    def __str__(self) -> str:
        many, at = len(self.values) > 1, places(self.se)
        orders = f"{len(self.values)} random orders of the patients (SD between them {self.spread:.2g})" if many else "one order"
        lines = [
            f"Honest value {decimal(self.mean, at)} (SE {decimal(self.se, at)}, {self.ci_prob:.0%} confidence interval "
            f"{decimal(self.lower, at)} to {decimal(self.upper, at)}), "
            f"{self.basis}",
            f"  Average value of rules learned on earlier patients, in {self.scored} later ones; {orders}.",
            f"  {self.followers:.3g} patients effectively followed the rules; largest weight {self.largest_weight:.3g}.",
            "  A rule learned on all patients is usually better than those learned on a part of them.",
        ]
        if self.safety is not None:
            lines.append(f"  Every rule heeds safety gates, judged by what was known when it was learned: {self.safety}.")
        if not self.reliable:
            lines.append(f"  Unreliable: fewer than {LEAST_ESS:.0f} patients effectively followed the rules.")
        if self.estimated:
            lines.append("  Nobody randomized there: that nothing unmeasured drove both choice and outcome is the analyst's claim.")
        if self.trusted < 1:
            lines.append(f"  {1 - self.trusted:.0%} of the fits did not pass their own checks: their rules may be worse, their value is as honest.")
        return fold("\n".join(lines))


def honest_value(
    study: Study, data: Any, *, seed: int, engine: str | None = None, shuffles: int | None = None, blocks: int = 10, pending: int = 0,
    progress: str | bool = "auto", safety: SafetyGate | Sequence[SafetyGate] = (), default: Mapping[str, str] | None = None,
) -> HonestValue:
    """Average value of rules learned on earlier patients, by the probabilities with which options were assigned.

    Patients are taken in an order and cut into blocks. The rule learned on all blocks before is judged in the next one by augmented
    inverse-probability weighting, and the blocks are averaged in inverse proportion to the spread of their scores, so that no patient
    is ever judged by a rule that was learned from them: the value a model gives to a rule chosen on the same data is optimistic on average.

    Parameters
    ----------
    study : Study
    data : pandas, polars or pyarrow frame
        As for :func:`bayesdtr.fit`; everyone followed to the end of their course.
    seed : int
    engine : {"laplace", "exact", "nuts"}, optional
        With which rules are learned: corrected draws of many fits at once (the default); for saturated cells (the default where all
        responses have them); for any model, at a fit's price each.
    shuffles : int, optional
        Random orders of the patients, over which the value is averaged. 0 takes the rows as they stand, which must be the order of enrolment:
        the default where a column holds probabilities, since these may have followed earlier outcomes. Else 20; under "nuts" 1.
    blocks, pending : int
        The first two blocks are only learned from. With ``shuffles=0``: patients before each who were still on study then, not learned from.
    progress : {"auto", True, False}
    safety, default
        As for :func:`bayesdtr.optimize`: the rules heed these gates. For a default that nobody received, the model alone speaks.

    Returns
    -------
    HonestValue

    Raises
    ------
    DataError
        Where somebody was not followed to the end, a probability is missing, or too few patients come first.
    DecisionError, InferenceError
        For an argument out of range.

    Notes
    -----
    Its target is the average value of the rules learned along the way, not of the rule learned on everybody, which is usually a little
    higher. Averages over orders keep the standard error of one order: that of an average is no larger. With estimated propensities the
    value is doubly robust (right if either they or the outcome models are), never "by the design".

    References
    ----------
    Luedtke and van der Laan, Annals of Statistics 2016;44:713.
    """
    guard = Safety.of(study, safety, default) if isinstance(study, Study) else None
    check_arguments(study, seed, "nuts" if engine is None else engine, 4, verb="honest_value")
    engine = _engine(study) if engine is None else engine
    adaptive = any(isinstance(d.probability, str) for d in study.decisions)
    shuffles = (0 if adaptive else 1 if engine == "nuts" else SHUFFLES) if shuffles is None else shuffles
    t, orders = _checked(study, data, seed, shuffles, blocks, pending)
    training, asked = lessons_of(orders, blocks, pending)
    received, guessed = _probabilities(study, t, training, asked, seed)
    parts = list(judged(study, t, training, asked, received, engine, seed, progress, guard))
    call = f"seed={seed}, engine={engine!r}, shuffles={shuffles}, blocks={blocks}, pending={pending}"
    return _told(study, t, parts, len(orders), guessed, call, guard)


def _told(
    study: Study, t: Trajectories, parts: list["Part"], orders: int, guessed: tuple[str, ...], call: str, safety: Safety | None
) -> HonestValue:
    """The parts of all orders put together."""
    each = len(parts) // orders
    results = [combined(parts[s : s + each], t.cluster) for s in range(0, len(parts), each)]
    values = np.array([r[0] for r in results])
    return HonestValue(
        study, t.hash, float(values.mean()), float(np.mean([r[1] for r in results])), sum(len(p.patients) for p in parts[:each]), values,
        float(np.mean([r[2] for r in results])), max(float(p.weight.max()) for p in parts), guessed,
        float(np.mean([p.trusted for p in parts])), call, safety=safety,
    )


@dataclass(frozen=True, eq=False)
class Part:
    """One block: the rule judged in it, its patients' scores, and the spread of scores among those the rule was learned from."""

    learned: Learned
    patients: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    spread: float
    trusted: bool


def judged(
    study: Study, t: Trajectories, training: list[np.ndarray], asked: list[np.ndarray], received: list[Mapping[str, np.ndarray]], engine: str,
    seed: int, show: str | bool, safety: Safety | None = None,
) -> Iterator[Part]:
    """Judge, block by block, the rule learned on the patients before it."""
    record = Record.of(study, t)
    for i, lesson in enumerate(lessons(study, t, training, engine, seed, show, safety)):
        known = training[i][:SPREAD_ROWS]
        found = scores(record, lesson.learned, np.concatenate([known, asked[i]]), received[i])
        spread = float(found.score[: len(known)].std(ddof=1))
        yield Part(lesson.learned, asked[i], found.score[len(known) :], found.weight[len(known) :], spread, lesson.trusted)


def scales_of(parts: list[Part]) -> np.ndarray:
    """Spread by which each block's scores are divided; an average one where nobody's score varies."""
    found = np.array([p.spread for p in parts])
    return np.where(found > 0, found, found.mean() or 1.0)


def combined(parts: list[Part], cluster: np.ndarray | None) -> tuple[float, float, float]:
    """Value, standard error and effective number of followers of one order."""
    scale = np.concatenate([np.full(len(p.patients), s) for p, s in zip(parts, scales_of(parts), strict=True)])
    score, weight = (np.concatenate([getattr(p, n) for p in parts]) for n in ("score", "weight"))
    value = float((score / scale).sum() / (1 / scale).sum())
    excess = (score - value) / scale
    if cluster is not None:
        excess = np.bincount(cluster[np.concatenate([p.patients for p in parts])], excess)
    followers = float(weight.sum() ** 2 / max((weight**2).sum(), 1e-300))
    return value, float(np.sqrt((excess**2).sum()) / (1 / scale).sum()), followers


def _engine(study: Study) -> str:
    """The fastest engine for a study's models."""
    if all(isinstance(r.model, Saturated) for r in study.responses):
        return "exact"
    return "nuts" if study.shared or any(not isinstance(r.model, Hierarchical) for r in study.responses) else "laplace"


def _checked(study: Study, data: Any, seed: int, shuffles: Any, blocks: Any, pending: Any) -> tuple[Trajectories, list[np.ndarray]]:
    """The patients, and the orders in which they are taken."""
    for name, value, least in (("shuffles", shuffles, 0), ("blocks", blocks, FIRST + 1), ("pending", pending, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise DecisionError(f"honest_value: {name} must be a whole number of at least {least}, got {value!r}.")
    if pending and shuffles:
        raise DecisionError("honest_value: pending belongs to patients in the order of enrolment; use it with shuffles=0.")
    t = data if isinstance(data, Trajectories) else read(study, data)
    if lost := gaps(study, t.columns):
        raise DataError(f"honest_value takes complete histories, and {listing(lost)} has missing values.")
    if (open_ := np.flatnonzero(~t.finished(study))).size:
        raise DataError(
            f"honest_value judges whole courses, and {open_.size} of {t.n} patients were not followed to the end (patient {t.ids[open_[0]]} "
            "among them); leave them out of the data only if their absence tells nothing about how they fare."
        )
    if t.n < LEAST_PATIENTS or (FIRST * t.n) // blocks <= pending:
        raise DataError(f"honest_value: {t.n} patients in {blocks} blocks leave too few to learn from first; give at least {LEAST_PATIENTS} "
                        "and fewer blocks.")
    if shuffles == 0:
        return t, [np.arange(t.n)]
    return t, [np.random.default_rng([seed, 11, s]).permutation(t.n) for s in range(shuffles)]


def lessons_of(orders: list[np.ndarray], blocks: int, pending: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Who is learned from and who is judged, block by block, order by order."""
    training, asked = [], []
    for order in orders:
        cut = np.linspace(0, len(order), blocks + 1).astype(int)
        for begin, end in zip(cut[FIRST:-1], cut[FIRST + 1 :], strict=True):
            training.append(order[: begin - pending])
            asked.append(order[begin:end])
    return training, asked


def _probabilities(
    study: Study, t: Trajectories, training: list[np.ndarray], asked: list[np.ndarray], seed: int
) -> tuple[list[Mapping[str, np.ndarray]], tuple[str, ...]]:
    """Probability of every option received, for each block as it was known before; and the decisions where it is estimated."""
    known: dict[str, np.ndarray] = {}
    guessed: dict[str, list[np.ndarray]] = {}
    for d in study.decisions:
        if d.assigned == "observed" and any(len(s) > 1 for s in d.sets):
            wanted = [np.concatenate([rows[:SPREAD_ROWS], block]) for rows, block in zip(training, asked, strict=True)]
            guessed[d.name] = estimated(study, t, training, wanted, d.name, seed)
            continue
        known[d.name] = t.assignment[d.name]
        if (lost := np.flatnonzero(t.observed(d.name) & ~(t.assignment[d.name] > 0))).size:
            raise DataError(f"honest_value: the probability of the option received at {d.name!r} is missing or 0 for {lost.size} patients "
                            f"(patient {t.ids[lost[0]]} among them); record it.")
    return [{**known, **{n: v[i] for n, v in guessed.items()}} for i in range(len(training))], tuple(guessed)
