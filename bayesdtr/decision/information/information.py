"""What it would be worth to know the parameters: before a stage, before the first (EVPI), patient by patient."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DecisionError, did_you_mean, listing
from ...inference import Posterior
from ...text import decimal, fold, places
from ..induction import (
    BUDGET,
    MOST_LEAVES,
    Chooser,
    DecisionNode,
    clairvoyant,
    committed,
    grow,
    leaves,
    options,
    own_histories,
    settle,
    tables,
)
from ..values import baseline_rows, batch_error, chains_of, population_weights, thin_to
from ..world import World
from .foresight import foreseen

TREE, POLICIES = "tree", "policies"
METHODS = ("auto", TREE, POLICIES)
QUICK = 1e8
"""Leaves times draws that take seconds."""


@dataclass(frozen=True, eq=False)
class InformationValue:
    """Expected utility by when the parameters become known, averaged over the observed patients. Never the value of a rule.

    Attributes
    ----------
    decisions : tuple of str
    draws : array, shape (chain, draw, stage + 1)
        Entry k: the parameters become known just before decision k, so that the best option of each draw is taken from there
        on, and earlier decisions, which foresee that, go by posterior expectation. The last entry: never, the committed rule.
    patient_gains : array, shape (patient, stage)
        What each observed patient gains, seen from before the first decision, by the parameters becoming known just before a decision
        rather than after it. Of a patient who waits at a later decision the EVPI is the ``regret`` of :meth:`Regime.recommend`.
    method : {"tree", "policies"}
        How it was worked out; see :func:`value_of_information`.
    """

    decisions: tuple[str, ...]
    draws: np.ndarray
    patient_gains: np.ndarray
    method: str = TREE

    @property
    def patients(self) -> np.ndarray:
        """EVPI of each observed patient before the first decision, shape (patient,)."""
        return self.patient_gains.sum(axis=1)

    @property
    def values(self) -> np.ndarray:
        """Expected utilities, shape (stage + 1,); they do not increase but for Monte Carlo error."""
        return self.draws.mean(axis=(0, 1))

    @property
    def gains(self) -> np.ndarray:
        """What it is worth to know the parameters before a decision rather than after it, shape (stage,)."""
        return self.values[:-1] - self.values[1:]

    @property
    def gain_errors(self) -> np.ndarray:
        """Monte Carlo standard errors of the gains, shape (stage,)."""
        return batch_error(self.draws[..., :-1] - self.draws[..., 1:])

    @property
    def evpi(self) -> float:
        """Expected value of perfect information: known before the first decision, less never known."""
        return float(self.values[0] - self.values[-1])

    @property
    def evpi_error(self) -> float:
        """Monte Carlo standard error of the EVPI."""
        return float(batch_error(self.draws[..., 0] - self.draws[..., -1]))

    def frame(self) -> Any:
        """One row per time at which the parameters become known: ``known``, ``expected_utility``, ``gain`` over the next, ``gain_error``."""
        import pandas as pd

        return pd.DataFrame({
            "known": [*(f"before {d}" for d in self.decisions), "never"], "expected_utility": self.values,
            "gain": [*self.gains, np.nan], "gain_error": [*self.gain_errors, np.nan],
        })

    def __str__(self) -> str:
        when = [f"before {d}" for d in self.decisions] + ["never"]
        width = max(len("parameters known"), *map(len, when))
        out = [f"{'parameters known':<{width}} {'expected utility':>17} {'gain over later':>16} {'MC error':>9}"]
        at = places(*self.gain_errors, figures=2)
        for name, value, gain, error in zip(when, self.values, self.gains, self.gain_errors, strict=False):
            out.append(f"{name:<{width}} {decimal(value, at):>17} {decimal(gain, at):>16} {error:>9.2g}")
        out.append(f"{when[-1]:<{width}} {decimal(self.values[-1], at):>17}")
        if self.method == POLICIES:
            out.append(f"EVPI at least {self.evpi:.3g} per patient (Monte Carlo error {self.evpi_error:.2g}). Knowing is valued by "
                       f"rules that know each of {self.draws[..., 0].size} draws from a decision on, followed on fresh simulated "
                       "patients; the best such rules may be worth more.")
        else:
            out.append(f"EVPI {self.evpi:.3g} per patient (Monte Carlo error {self.evpi_error:.2g}): the most that any further study could add to "
                       "the expected utility.")
        out.append("These are no values of a rule that can be followed: only the last, the committed one, can.")
        return fold("\n".join(out))


def value_of_information(posterior: Posterior, *, method: str = "auto") -> InformationValue:
    """What it would be worth to know the parameters before each decision, and before the first (EVPI).

    Parameters
    ----------
    posterior : Posterior
    method : {"auto", "tree", "policies"}
        "tree" works everything out on the tree of histories. "policies" learns, by regression Monte Carlo, rules that know each draw from a
        decision on and go by the committed rule before it, and values them by rollouts on common random numbers: lower bounds. "auto" takes
        the tree where it has at most 4096 leaves per patient.

    Returns
    -------
    InformationValue

    Raises
    ------
    DecisionError
        For an unknown method, or "tree" where the tree of histories is too large; where regression would ignore what patients' own histories
        say about shared parameters.

    Notes
    -----
    With ``q`` the value of an option under one draw, the parameters known before decision k are worth ``E[max q]`` from there on and
    ``max E[q]`` before it. The differences say how much of the EVPI would be lost if knowledge came one stage later.

    Safety gates play no part: every feasible option is open to whoever decides.
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"value_of_information takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    if method not in METHODS:
        raise DecisionError(f"value_of_information: no method {method!r}; allowed: {listing(METHODS)}{did_you_mean(method, METHODS)}")
    world = World.of(posterior)
    size = leaves(world, 0)
    names = tuple(d.name for d in posterior.study.decisions)
    if method == POLICIES or (method == "auto" and size > MOST_LEAVES):
        values, gains = foreseen(posterior, world)
        return InformationValue(names, chains_of(posterior, values), gains, POLICIES)
    if size > MOST_LEAVES:
        raise DecisionError(f"value_of_information: the tree of histories has {size:.0f} leaves per patient (at most {MOST_LEAVES}); "
                            "use method='policies' for lower bounds.")
    rows = baseline_rows(posterior)
    distinct, inverse = rows.unique()
    world = thin_to(world, posterior, int(BUDGET // size))
    weights = population_weights(world, inverse, distinct.n, posterior.seed, rows.sets)
    stages = len(posterior.study.decisions)
    total, gains = np.zeros((world.size, stages + 1)), np.zeros((distinct.n, stages))
    chunk = max(1, int(BUDGET // (size * world.size)))
    for begin in range(0, distinct.n, chunk):
        here = np.arange(begin, min(begin + chunk, distinct.n))
        found = _resolved(world, grow(world, 0, distinct.take(here)))
        total += np.einsum("br,brk->bk", weights[:, here], found)
        gains[here] = (found[..., :-1] - found[..., 1:]).mean(axis=0)
    return InformationValue(names, chains_of(posterior, total), gains[inverse].reshape(rows.sets, -1, stages).mean(axis=0))


def affordable(posterior: Posterior) -> bool:
    """Whether the tree of histories is small enough for the value of information to be worked out beside every report."""
    size = leaves(World.of(posterior), 0)
    return size <= MOST_LEAVES and size * baseline_rows(posterior).unique()[0].n * min(posterior.size, BUDGET // size) <= QUICK


def _resolved(world: World, root: DecisionNode) -> np.ndarray:
    """Value of each row under each draw with the parameters known before decision 0, 1, ..., never; shape (draw, row, stage + 1)."""
    settle(world, root)
    known, own = tables(world, root), own_histories(world, root)
    position = {d.name: k for k, d in enumerate(world.study.decisions)}

    def revealed(first: int) -> Chooser:
        def choose(node: DecisionNode, pairs: np.ndarray) -> np.ndarray:
            if position[node.name] >= first:
                return clairvoyant(node, pairs)
            weight = own[id(node)]
            mean = pairs.mean(axis=0) if weight is None else (weight[:, node.row] * pairs).mean(axis=0)
            return node.taken(pairs, node.table(mean).argmax(axis=1))

        return choose

    found = []
    for first in range(len(position) + 1):
        choose = revealed(first) if first < len(position) else committed
        table = options(root, known, choose)
        found.append(choose(root, table[:, root.row, root.option]))
    return np.stack(found, axis=-1)
