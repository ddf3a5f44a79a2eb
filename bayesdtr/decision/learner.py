"""The committed rule as something that answers: what it expects of every option at any history."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import DecisionError
from .induction import GRID_NOTE, MOST_LEAVES, leaves, solve
from .regression import MOST_DRAWS, StageFit, fit_stages
from .values import any_grid
from .world import Rows, World

DRAWS, SIMULATIONS = 100, 100_000
"""Of regression, which learns one rule of many: a fourth of what :func:`bayesdtr.optimize` takes."""
REGRESSION = "regression"
"""How the method of a decision begins whose look-ahead is fitted."""


def plan(world: World, method: str = "auto") -> dict[str, str]:
    """How each decision's look-ahead is worked out: on the tree of histories or by regression.

    Parameters
    ----------
    world : World
    method : {"auto", "tree", "regression"}

    Raises
    ------
    DecisionError
        For "tree" where a response can only be simulated.
    """
    methods = {}
    last = len(world.study.decisions) - 1
    for stage, decision in enumerate(world.study.decisions):
        size = leaves(world, stage)
        if method == "tree" and not np.isfinite(size):
            raise DecisionError(f"optimize(method='tree'): a response after {decision.name!r} can only be simulated; use 'auto' or 'regression'.")
        tree = method == "tree" or ((method == "auto" or stage == last) and size <= MOST_LEAVES)
        exact = GRID_NOTE if any_grid(world, stage) else "enumeration"
        methods[decision.name] = exact if tree else f"{REGRESSION} on {MOST_DRAWS} draws at most"
    return methods


@dataclass(frozen=True, eq=False)
class Learned:
    """A committed rule in a world: the option of highest posterior-expected utility at every history.

    Attributes
    ----------
    world : World
    methods : mapping of str to str
        As :func:`plan` has them.
    fits : mapping of str to StageFit
        Of the decisions that use regression.
    """

    world: World
    methods: Mapping[str, str]
    fits: Mapping[str, StageFit]

    @classmethod
    def of(cls, world: World, rows: Rows, seed: int) -> "Learned":
        """Learn the rule.

        Parameters
        ----------
        world : World
        rows : Rows
            Baseline columns of the patients that regression simulates from.
        seed : int
        """
        methods = plan(world)
        fitted = any(m.startswith(REGRESSION) for m in methods.values())
        some = world.take(np.arange(0, world.size, -(-world.size // DRAWS))) if fitted else world
        return cls(world, methods, fit_stages(some, rows, seed, SIMULATIONS) if fitted else {})

    def qbar(self, stage: int, rows: Rows) -> np.ndarray:
        """Posterior-expected utility to come of every option at a decision, shape (row, option); ``-inf`` where infeasible."""
        name = self.world.study.decisions[stage].name
        distinct, inverse = rows.unique()
        if self.methods[name].startswith(REGRESSION):
            found = self.fits[name].qbar(self.world, name, distinct.columns, distinct.cluster, distinct.n)
        else:
            found = np.concatenate([answer.qbar for answer in solve(self.world, stage, distinct, [])])
        return found[inverse]
