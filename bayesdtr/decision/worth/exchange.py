"""Decision bands: which option is recommended at which rate of exchange between benefit and harm.

The utility is ``benefit - rate * harm``. With ``w = rate / (1 + rate)``, benefit B and harm H in units of
their own sizes, an option's posterior-expected value ``(1 - w) B - w H`` is convex and piecewise linear in
w, for later decisions take the best of such functions. One evaluation gives it together with its slope, so an interval is closed as soon as
tangents and chords prove that one option stays best, or that all are straight there; nothing is
scanned, and a narrow band is not missed.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data import backend, like, read_new
from ...errors import DecisionError
from ...inference import Posterior
from ...study.lifetime import LifeUtility
from ...study.utility import Utility
from ..induction import BUDGET, MOST_LEAVES, leaves
from ..regime import next_decision, rows_before, warn_if_failed
from ..values import affordable
from ..world import Rows, World
from .twofold import Twofold

STRAIGHT = 1e-9
"""Relative to the largest value: what is closer to a line than this is one."""
NARROWEST = 1e-11
"""Width in w at which a change of the best option is taken as found."""

Band = tuple[float, float, int]
"""From, to (as rates, or as weights of the harm) and the option."""


def exchange_bands(
    posterior: Posterior, patients: Any, *, benefit: Utility | LifeUtility | str, harm: Utility | LifeUtility | str,
    rates: tuple[float, float] = (0.0, np.inf),
) -> Any:
    """For each patient, the options recommended as a harm counts more and more against a benefit.

    Parameters
    ----------
    posterior : Posterior
        Its study's own utility plays no part.
    patients : pandas, polars or pyarrow frame
        As for :meth:`Regime.recommend`; answered at the decision that is due next.
    benefit, harm : Utility, RestrictedMean, SurvivalAt, QualityAdjusted or str
        The utility is ``benefit - rate * harm``.
    rates : tuple of float
        Lowest and highest rate: how many units of benefit one unit of harm cancels. Infinity: only the harm counts.

    Returns
    -------
    frame of the caller's kind
        One row per patient and band, in order: the patient's identifier, ``decision``, ``option``, ``from_rate``, ``to_rate``,
        ``verdict``. Within a band the option has the highest posterior-expected utility, later decisions following the committed
        rule of the same rate. An option that is recommended at no rate has no row.

    Raises
    ------
    StudyError
        Where a utility does not fit the study.
    DecisionError
        For rates that are no interval, or where the tree of histories is too large.

    Notes
    -----
    Safety gates play no part.
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"exchange_bands takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    low, high = _rates(rates)
    for name, given in (("benefit", benefit), ("harm", harm)):
        if not isinstance(given, Utility | LifeUtility | str):
            raise DecisionError(f"exchange_bands: {name} is a Utility or the name of a response, got {given!r}.")
    parts = [Utility(u) if isinstance(u, str | LifeUtility) else u for u in (benefit, harm)]
    warn_if_failed(posterior.verdict)
    study = posterior.study.with_utility(Utility.of_all(parts))
    world = World.of(dataclasses.replace(posterior, study=study))
    new = read_new(study, patients, cluster_labels=posterior.trajectories.cluster_labels)
    waiting = next_decision(posterior, new)
    found: list[tuple[int, str, str, float, float]] = []
    for stage, decision in enumerate(study.decisions):
        index = np.flatnonzero(waiting == stage)
        if index.size:
            distinct, inverse = rows_before(posterior, new, decision.name, index).unique()
            bands = _bands_at(affordable(world, posterior, distinct.n, stage), stage, distinct, parts, low, high)
            for i, k in zip(index, inverse, strict=True):
                found += [(int(i), decision.name, decision.options[o], a, b) for a, b, o in bands[k]]
    found.sort(key=lambda line: (line[0], line[3]))
    names = ("decision", "option", "from_rate", "to_rate")
    columns: dict[str, Any] = {study.id or "patient": [str(new.ids[line[0]]) for line in found]}
    columns |= {n: [line[k + 1] for line in found] for k, n in enumerate(names)}
    return like(backend(patients), columns | {"verdict": [posterior.verdict.status] * len(found)})


def _bands_at(world: World, stage: int, rows: Rows, parts: list[Utility], low: float, high: float) -> list[list[Band]]:
    """Bands of distinct histories before one decision, in bounded memory."""
    if (size := leaves(world, stage)) > MOST_LEAVES:
        name = world.study.decisions[stage].name
        raise DecisionError(f"exchange_bands: the tree of histories after {name!r} has {size:.0f} leaves per patient (at most {MOST_LEAVES}).")
    chunk = max(1, int(BUDGET // (size * world.size)))
    found: list[list[Band]] = []
    for begin in range(0, rows.n, chunk):
        tree = Twofold.of(world, stage, rows.take(np.arange(begin, min(begin + chunk, rows.n))), parts)
        bands = _bands(tree, tree.weights(low), tree.weights(high))
        found += [[(tree.rate(i, a), tree.rate(i, b), o) for a, b, o in row] for i, row in enumerate(bands)]
    return found


def _rates(given: Any) -> tuple[float, float]:
    """The ends of the interval."""
    try:
        low, high = (float(r) for r in given)
    except (TypeError, ValueError):
        raise DecisionError(f"exchange_bands: rates is a pair of numbers (lowest, highest), got {given!r}.") from None
    if not 0 <= low < high:
        raise DecisionError(f"exchange_bands: rates must satisfy 0 <= lowest < highest, got {given!r}.")
    return low, high


@dataclass(frozen=True, eq=False)
class _End:
    """Values and slopes of one row's feasible options, shape (feasible,), at one weight of the harm."""

    w: float
    value: np.ndarray
    slope: np.ndarray


def _bands(tree: Twofold, low: np.ndarray, high: np.ndarray) -> list[list[Band]]:
    """Bands of every row; rows go side by side, each with intervals of its own."""
    n = tree.root.rows.n
    offered = [np.flatnonzero(row) for row in tree.root.feasible]

    def at(w: np.ndarray, rows: Iterable[int]) -> dict[int, _End]:
        value, slope = tree.options(w)
        return {i: _End(float(w[i]), value[i, offered[i]], slope[i, offered[i]]) for i in rows}

    going = [i for i in range(n) if offered[i].size]
    first, last = at(low, going), at(high, going)
    pending = [[(first[i], last[i])] if i in first else [] for i in range(n)]
    done: list[list[Band]] = [[] for _ in range(n)]
    while any(pending):
        w = low.copy()
        split: dict[int, tuple[_End, _End]] = {}
        for i, waiting in enumerate(pending):
            while waiting and i not in split:
                a, b = waiting.pop()
                if (found := _closed(a, b)) is None:
                    split[i], w[i] = (a, b), 0.5 * (a.w + b.w)
                else:
                    done[i] += found
        if split:
            middle = at(w, split)
            for i, (a, b) in split.items():
                pending[i] += [(a, middle[i]), (middle[i], b)]
    return [[(a, b, int(offered[i][o])) for a, b, o in _joined(sorted(done[i]))] for i in range(n)]


def _closed(a: _End, b: _End) -> list[Band] | None:
    """The bands of an interval, or None where it must be split."""
    width = b.w - a.w
    first, last = int(a.value.argmax()), int(b.value.argmax())
    tolerance = STRAIGHT * max(1e-300, float(np.abs(np.concatenate([a.value, b.value])).max()))
    if first == last and _stays(a, b, first, tolerance):
        return [(a.w, b.w, first)]
    if (np.abs(a.value + a.slope * width - b.value) <= tolerance).all():
        return _envelope(a, b)
    if width <= NARROWEST:
        return [(a.w, a.w + width / 2, first), (a.w + width / 2, b.w, last)]
    return None


def _stays(a: _End, b: _End, best: int, tolerance: float) -> bool:
    """Whether an option that is best at both ends is best between: its tangents lie above the other options' chords."""
    width = b.w - a.w
    bend = a.slope[best] - b.slope[best]
    t = np.clip((b.value[best] - b.slope[best] * width - a.value[best]) / bend, 0, width) if abs(bend) > 0 else 0.0
    under = max(a.value[best] + a.slope[best] * t, b.value[best] - b.slope[best] * (width - t))
    chords = a.value + (b.value - a.value) * (t / width)
    return bool((np.delete(chords, best) <= under + tolerance).all())


def _envelope(a: _End, b: _End) -> list[Band]:
    """Upper envelope of straight lines on an interval."""
    found, at, line = [], a.w, int(np.lexsort((a.slope, a.value))[-1])
    while True:
        gain = a.slope - a.slope[line]
        ahead = gain > 0
        cross = np.full(len(gain), np.inf)
        cross[ahead] = np.maximum(a.w + (a.value[line] - a.value[ahead]) / gain[ahead], at)
        if not (cross < b.w).any():
            return [*found, (at, b.w, line)]
        nearest = np.flatnonzero(cross == cross.min())
        found.append((at, float(cross.min()), line))
        at, line = float(cross.min()), int(nearest[gain[nearest].argmax()])


def _joined(bands: list[Band]) -> list[Band]:
    """Neighbouring bands of the same option as one; what is narrower than can be told is left out."""
    kept: list[Band] = []
    for begin, end, option in bands:
        if kept and (kept[-1][2] == option or end - begin <= 2 * NARROWEST):
            kept[-1] = (kept[-1][0], end, kept[-1][2])
        else:
            kept.append((kept[-1][1] if kept else begin, end, option))
    return kept
