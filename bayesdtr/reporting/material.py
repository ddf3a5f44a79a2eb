"""What a report and a summary are made of, worked out once: cells, branches, the gate, the study's hash."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..decision import Comparison, EmbeddedValue, Regime, Ties, compare
from ..decision.explaining.extrapolation import Extrapolation
from ..decision.learner import REGRESSION
from ..decision.reading.readable import Cell, RuleBranch, decision_cells, rule_branches
from ..decision.values import Summary, summarize
from ..errors import DecisionError
from ..evaluate import HonestValue
from ..plot.embedded import same_as_reference
from ..plot.regime_tree import on_path, sparse_options
from ..study import Study, to_json
from .findings import Finding, checked


@dataclass(frozen=True)
class Lean:
    """An option that the recommended regime offers in a cell where fewer than five patients received it."""

    cell: Cell
    option: str
    patients: int


@dataclass(frozen=True, eq=False)
class Material:
    """A regime, its comparison, and what both documents say about them.

    Attributes
    ----------
    regime : Regime
    comparison : Comparison
    withheld : bool
        Whether the checks fail, so that nothing is recommended.
    cells : tuple of Cell
        Empty when withheld.
    reached : tuple of bool
        Whether who follows the rule from the start can reach each cell.
    branches : tuple of RuleBranch
        Empty when withheld.
    honest : HonestValue, optional
        Of the same study and data.
    extrapolation : Extrapolation, optional
        None when withheld.
    findings : tuple of Finding
        What other verbs found about the regime.
    """

    regime: Regime
    comparison: Comparison
    withheld: bool
    cells: tuple[Cell, ...]
    reached: tuple[bool, ...]
    branches: tuple[RuleBranch, ...]
    honest: HonestValue | None = None
    extrapolation: Extrapolation | None = None
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, regime: Regime, comparison: Comparison | None, honest: HonestValue | None = None,
           extrapolation: Extrapolation | None = None, findings: Sequence[Finding] = ()) -> "Material":
        """Gather; the comparison is computed when it is not given, and so are counts of patients behind recommendations, without prior widths."""
        if not isinstance(regime, Regime):
            raise DecisionError(f"A report needs a Regime first, got {type(regime).__name__}; optimize a posterior first.")
        if comparison is not None and not isinstance(comparison, Comparison):
            raise DecisionError(f"comparison must be a Comparison or None, got {type(comparison).__name__}.")
        if honest is not None and not isinstance(honest, HonestValue):
            raise DecisionError(f"honest_value must be what honest_value returns, or None, got {type(honest).__name__}.")
        if honest is not None and (honest.study != regime.posterior.study or honest.data_hash != regime.posterior.trajectories.hash):
            raise DecisionError("The honest value is of another study or of other data than the regime; work it out anew for these.")
        if honest is not None and honest.safety != regime.safety:
            raise DecisionError("The honest value is of rules under other safety gates than the regime's (or none); work it out anew with the same "
                                "safety= and default=, or leave it out.")
        if extrapolation is not None and not isinstance(extrapolation, Extrapolation):
            raise DecisionError(f"extrapolation must be what regime.extrapolation() returns, or None, got {type(extrapolation).__name__}.")
        withheld = regime.posterior.verdict.status == "fail"
        cells = () if withheld else tuple(decision_cells(regime))
        branches = () if withheld else tuple(rule_branches(regime))
        behind = None if withheld else extrapolation or regime.extrapolation(width=False)
        return cls(regime, comparison or compare(regime.posterior), withheld, cells, tuple(on_path(cells)), branches, honest, behind,
                   checked(findings, regime))

    @functools.cached_property
    def ties(self) -> Ties | None:
        """How often options tie; None when withheld."""
        return None if self.withheld else self.regime.ties()

    @property
    def study(self) -> Study:
        """The declaration."""
        return self.regime.posterior.study

    @property
    def leans(self) -> list[Lean]:
        """Where the regime, followed from the start, rests on fewer than five patients."""
        return [Lean(c, o, n) for c, reached in zip(self.cells, self.reached, strict=True) if reached for o, n in sparse_options(c)]

    @property
    def followed_branches(self) -> list[RuleBranch]:
        """Branches that somebody who follows the rule from the start can meet."""
        offered: dict[str, set[str]] = {}
        found = []
        for branch in self.branches:
            if all(label in offered[name] for name, label in branch.history if name in offered):
                offered.setdefault(branch.decision, set()).add(branch.option)
                found.append(branch)
        return found

    @property
    def observed_decisions(self) -> list[str]:
        """Decisions with a choice whose options were not randomized."""
        return [d.name for d in self.study.decisions if d.assigned == "observed" and any(len(s) > 1 for s in d.sets)]

    @property
    def reference(self) -> EmbeddedValue | None:
        """The embedded regime that does what the reference regime does, if there is one."""
        return next((r for r in self.comparison.rows if same_as_reference(r.contrast)), None)

    def gain(self, row: int) -> Summary | None:
        """Value of the recommended regime minus that of an embedded one, draw by draw; None where their draws are not the same ones."""
        return self._minus(self.comparison.draws["value"].values[..., row])

    @property
    def reference_gain(self) -> Summary | None:
        """Value of the recommended regime minus that of the reference regime, whether or not it is an embedded one."""
        return None if self.comparison.reference_draws is None else self._minus(self.comparison.reference_draws)

    def _minus(self, other: np.ndarray) -> Summary | None:
        """Difference draw by draw; both values must have been worked out the same way, on the same weights."""
        mine = self.regime.value_draws
        first = self.study.decisions[0].name
        alike = self.regime.methods[first].startswith(REGRESSION) == self.comparison.method.startswith("simulation")
        return summarize(mine - other, self.comparison.rows[0].value.ci_prob) if alike and mine.shape == other.shape else None


def study_hash(study: Study) -> str:
    """SHA-256 of the declaration as JSON, in hexadecimal."""
    return hashlib.sha256(to_json(study).encode()).hexdigest()


def strict(value: Any) -> Any:
    """The same value with plain Python numbers, and None for what JSON cannot hold (NaN, infinity)."""
    if isinstance(value, dict):
        return {str(k): strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if value is None or isinstance(value, str):
        return value
    raise DecisionError(f"{value!r} cannot be written to a summary: it takes numbers, texts, lists and mappings.")
