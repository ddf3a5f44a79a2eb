"""Safety gates at work: which options the posterior removes for whom, and the record of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logit

from ...errors import DecisionError
from ...model import CompiledResponse
from ...model.halfspace import share_beyond
from ...model.inputs import make_inputs
from ...study.families import Bernoulli, Normal
from ...study.safety import SafetyGate
from ...text import fold
from ..world import Rows, World

if TYPE_CHECKING:
    from ..regime import Regime

PAIRS = 2**20
"""Draws times histories and options that are judged at once."""
MANY = 2**24
"""From so many on, linear predictors are compared with the limit in place of means."""


@dataclass(frozen=True, eq=False)
class Guarded:
    """What gates do at one decision for given histories.

    Attributes
    ----------
    gates : tuple of SafetyGate
    beyond : array, shape (gate, row, option)
        Posterior probability of being beyond the gate's limit; NaN where infeasible.
    allowed : array of bool, shape (row, option)
        Options that are left; the default alone where none was.
    shielded : array of bool, shape (row,)
        Where the default stands in for options that were all removed.
    """

    gates: tuple[SafetyGate, ...]
    beyond: np.ndarray
    allowed: np.ndarray
    shielded: np.ndarray


def guarded(world: World, decision: str, rows: Rows, feasible: np.ndarray) -> Guarded:
    """Apply a world's gates, by all draws of the posterior: what is removed for whom must not depend on how draws were thinned elsewhere.

    Parameters
    ----------
    world : World
        With safety.
    decision : str
    rows : Rows
        Histories before the decision.
    feasible : array of bool, shape (row, option)

    Raises
    ------
    DecisionError
        Where every option is removed and there is no default, or the default is not feasible.
    """
    assert world.safety is not None and world.judge is not None
    gates = world.safety.at(world.study, decision)
    row, option = np.nonzero(feasible & (feasible.sum(axis=1) > 1)[:, None])  # a single option is no choice
    beyond = np.full((len(gates), *feasible.shape), np.nan)
    removed = np.zeros(feasible.shape, dtype=bool)
    step = max(1, PAIRS // world.judge.size)
    for g, gate in enumerate(gates):
        if row.size * world.judge.size > MANY and (quick := _quickly(world.judge, gate, rows.take(row), decision, option)) is not None:
            beyond[g, row, option] = quick
            removed |= beyond[g] > gate.probability
            continue
        for begin in range(0, row.size, step):
            r, o = row[begin : begin + step], option[begin : begin + step]
            beyond[g, r, o] = _chance(world.judge, gate, rows.take(r), decision, o)
        removed |= beyond[g] > gate.probability
    allowed = feasible & ~removed
    shielded = feasible.any(axis=1) & ~allowed.any(axis=1)
    if shielded.any():
        default = dict(world.safety.defaults).get(decision)
        if default is None:
            raise DecisionError(
                f"Safety: at {decision!r} every option is removed for {int(shielded.sum())} of {rows.n} histories "
                f"({'; '.join(map(str, gates))}), and no default is named; give default={{{decision!r}: option}} with what is done then."
            )
        code = int(world.study.code(decision, default))
        if (lost := shielded & ~feasible[:, code]).any():
            raise DecisionError(f"Safety: the default {default!r} of {decision!r} is not feasible for {int(lost.sum())} histories where every other "
                                "option is removed; name one that is.")
        allowed[shielded, code] = True
    return Guarded(gates, beyond, allowed, shielded)


def _quickly(judge: World, gate: SafetyGate, rows: Rows, decision: str, option: np.ndarray) -> np.ndarray | None:
    """As :func:`_chance`, by the linear predictor alone; None where the mean is not a function of a single one, given the history."""
    compiled, node = judge.compiled[gate.response], judge.study[gate.response]
    stage = [r.name for r in judge.study.after(decision)]
    between = set(stage[: stage.index(gate.response)])
    family = getattr(node, "family", None)
    plain = gate.levels is None and type(family) in (Bernoulli, Normal) and isinstance(compiled, CompiledResponse) and judge.shifted is None
    if not plain or gate.response in judge.study.shared or compiled.uses & between:
        return None
    if type(family) is Bernoulli and not 0 < gate.limit < 1:
        return None
    cut = float(logit(gate.limit)) if type(family) is Bernoulli else gate.limit
    columns = {**rows.columns, decision: option} | {n: np.zeros(rows.n) for n in between}
    inputs = make_inputs(compiled, columns, rows.cluster, judge.scales)
    return share_beyond(compiled, judge.draws[gate.response], inputs, cut, gate.above is not None)


FEASIBLE = "(feasible)"


def left_at(world: World, decision: str, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None, feasible: np.ndarray) -> np.ndarray:
    """What a world's gates leave of the feasible options at many histories, shape (row, option); all of them where no gate holds.

    Histories are judged once for every combination of what the gated responses depend on.

    Parameters
    ----------
    world : World
    decision : str
    columns : mapping of str to array, shape (row,)
        Histories before the decision.
    cluster : array of int, shape (row,), or None
    feasible : array of bool, shape (row, option)

    Raises
    ------
    DecisionError
        As :func:`guarded`.
    """
    if world.safety is None or not (gates := world.safety.at(world.study, decision)):
        return feasible
    stage = [r.name for r in world.study.after(decision)]
    needed = {n for g in gates for r in stage[: stage.index(g.response) + 1] for n in world.compiled[r].uses}
    names = list(columns) if world.study.shared else [n for n in columns if n in needed]
    if any(len(np.unique(columns[n])) > len(feasible) / 2 for n in names):  # hardly two alike
        return guarded(world, decision, Rows(columns, cluster, len(feasible)), feasible).allowed
    keys = {n: columns[n] for n in names} | {FEASIBLE: feasible @ (1 << np.arange(feasible.shape[1]))}
    kept, inverse = Rows(keys, cluster, len(feasible)).first()
    found = guarded(world, decision, Rows(columns, cluster, len(feasible)).take(kept), feasible[kept]).allowed
    return found[inverse]


def _chance(judge: World, gate: SafetyGate, rows: Rows, decision: str, option: np.ndarray) -> np.ndarray:
    """Posterior probability, given the rows' own histories, of being beyond a limit under one option each, shape (row,)."""
    mean = expected_response(judge, gate, rows.put(decision, option))
    off = mean > gate.limit if gate.above is not None else mean < gate.limit
    own = judge.own_history(judge.study.stage(decision) - 1, rows)
    return off.mean(axis=0) if own is None else (own * off).mean(axis=0)


def expected_response(world: World, gate: SafetyGate, rows: Rows) -> np.ndarray:
    """Expectation of what a gate limits given histories that include the decision, shape (draw, row).

    Responses of the same stage that come before it, and that it depends on, are averaged out under each draw.
    """
    stage = [r.name for r in world.study.after(gate.decision(world.study).name)]
    before = stage[: stage.index(gate.response)]
    needed: set[str] = set()
    for name in reversed([*before, gate.response]):
        if name == gate.response or name in needed:
            needed |= world.compiled[name].uses & set(before)
    return _expected(world, gate, [(n, n in needed) for n in before], rows)


def _expected(world: World, gate: SafetyGate, before: list[tuple[str, bool]], rows: Rows) -> np.ndarray:
    if not before:
        if gate.levels is None:
            return world.look(gate.response, rows, "mean")
        codes = [world.study.code(gate.response, level) for level in gate.levels]
        return world.look(gate.response, rows, "density", np.broadcast_to(np.array(codes, dtype=float), (rows.n, len(codes)))).sum(axis=-1)
    (name, wanted), *rest = before
    if not wanted:
        return _expected(world, gate, rest, rows.put(name, np.zeros(rows.n)))
    points = world.points(name, rows)
    p = world.probabilities(name, rows, points)
    spread = rows.take(np.repeat(np.arange(rows.n), points.at.shape[1])).put(name, points.at.ravel())
    return (p * _expected(world, gate, rest, spread).reshape(p.shape)).sum(axis=-1)


COLUMNS = ("decision", "option", "response", "limit", "p_beyond", "p_error", "probability", "removed", "shielded", "mc_tie", "recommended", "verdict")


def record_lines(regime: "Regime", decision: Any, rows: Rows, index: np.ndarray, choice: np.ndarray) -> list[dict[str, Any]]:
    """A line per patient, option that was open, and gate."""
    world = World.of(regime.posterior).under(regime.safety)
    stage = [d.name for d in world.study.decisions].index(decision.name)
    from ..induction import feasible_at

    feasible = feasible_at(world, stage, rows)
    found = guarded(world, decision.name, rows, feasible)
    effective = float(np.fmin(regime.posterior.verdict.convergence.ess_bulk, regime.value_draws.size))
    lines = []
    for i, row in enumerate(index):
        for o in np.flatnonzero(feasible[i]):
            for g, gate in enumerate(found.gates):
                p = float(found.beyond[g, i, o])
                error = float(np.sqrt(p * (1 - p) / effective))
                lines.append({
                    "row": int(row), "decision": decision.name, "option": decision.options[o], "response": gate.response, "limit": gate.label,
                    "p_beyond": p, "p_error": error, "probability": gate.probability, "removed": bool(p > gate.probability),
                    "shielded": bool(found.shielded[i]), "mc_tie": bool(abs(p - gate.probability) <= 2 * error),
                    "recommended": bool(o == choice[i]), "verdict": regime.posterior.verdict.status,
                })
    return lines


@dataclass(frozen=True)
class GateCount:
    """How often options were removed at one decision among the observed patients.

    Attributes
    ----------
    decision : str
    patients : int
        Who reached it with a choice.
    removed : tuple of (option, patients)
    default : str or None
    shielded : int
        Patients for whom every option was removed, so that the default stood in.
    limits : tuple of str
    """

    decision: str
    patients: int
    removed: tuple[tuple[str, int], ...]
    default: str | None
    shielded: int
    limits: tuple[str, ...]


@dataclass(frozen=True)
class Shield:
    """Where safety gates acted among the observed patients, decision by decision.

    Attributes
    ----------
    counts : tuple of GateCount
        Of decisions that have gates.
    """

    counts: tuple[GateCount, ...]

    def __str__(self) -> str:
        lines = []
        for c in self.counts:
            lines.append(f"{c.decision}: {c.patients} patients had a choice; {'; '.join(c.limits)}")
            lines += [f"  {option}: removed for {n}" for option, n in c.removed]
            if c.shielded:
                lines.append(f"  no option left for {c.shielded}: {c.default} as the default")
        return fold("\n".join(lines) or "No decision has a gate.")


def shield(regime: "Regime") -> Shield:
    """Count what gates removed among the observed patients."""
    from ..induction import feasible_at
    from ..regime import rows_before

    if regime.safety is None:
        return Shield(())
    world, t, found = World.of(regime.posterior).under(regime.safety), regime.posterior.trajectories, []
    for stage, decision in enumerate(world.study.decisions):
        gates = regime.safety.at(world.study, decision.name)
        reached = np.flatnonzero(t.reached(world.study, decision.name))
        if not gates:
            continue
        rows, inverse = rows_before(regime.posterior, t, decision.name, reached).unique()
        feasible = feasible_at(world, stage, rows)
        got = guarded(world, decision.name, rows, feasible)
        choice = (feasible.sum(axis=1) > 1)[inverse]
        gone = (feasible & ~got.allowed)[inverse][choice]
        default = dict(regime.safety.defaults).get(decision.name)
        removed = tuple((o, int(n)) for o, n in zip(decision.options, gone.sum(axis=0), strict=True))
        found.append(GateCount(decision.name, int(choice.sum()), removed, default, int(got.shielded[inverse].sum()), tuple(map(str, gates))))
    return Shield(tuple(found))
