"""`OperatingCharacteristics`: what a design does under each scenario, beside equal allocation on the same patients."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...errors import TrialError, did_you_mean, listing
from ..describe import in_short
from ..design import TrialDesign
from .estimates import MISSING, Estimate, estimate, paired
from .quantities import Quantity, Question, Reader, quantities

if TYPE_CHECKING:
    from pandas import DataFrame

IMBALANCE = 0.1
"""Share of the size by which one arm outnumbers another where that counts as an imbalance."""


@dataclass(frozen=True)
class Characteristic:
    """One operating characteristic under one scenario.

    Attributes
    ----------
    scenario, quantity, of : str
        `of` is the arm, regime, rule, look or response that it is about; empty where it is about the trial.
    kind : {"probability", "number"}
    adaptive, equal, difference : Estimate
        Of the design, of the same design with equal allocation, and between them replicate by replicate; NaN where only the design was simulated.
    """

    scenario: str
    quantity: str
    of: str
    kind: str
    adaptive: Estimate
    equal: Estimate
    difference: Estimate


@dataclass(frozen=True, eq=False)
class OperatingCharacteristics:
    """Operating characteristics of a design with Monte Carlo standard errors, beside equal allocation on common random numbers.

    Attributes
    ----------
    design : TrialDesign
    scenarios : mapping of str to Scenario
    runs : mapping of str to Run
        Replicates of the design under each scenario.
    equal_runs : mapping of str to Run
        The same replicates with equal allocation; scenarios may be missing where no comparison was asked for.
    truths : mapping of str to ScenarioTruth
    imbalance : float
        An arm of the first decision outnumbers another by so large a share of the size: an imbalance.
    within : float or None
        A regime that loses at most so much against the best one is as good as right; by default the study's `mcid`.

    Raises
    ------
    TrialError
        When a scenario lacks its run or its truth, or a comparison is not between the same replicates.

    Notes
    -----
    Which regimes are best, their values, and with them type I error, power, selection, future utility, bias and coverage, are those of the
    scenario's truth. What a trial believes (its posterior means) enters as `model_value`, and `bias` is how far it is off.
    """

    design: TrialDesign
    scenarios: Mapping[str, Any]
    runs: Mapping[str, Any]
    equal_runs: Mapping[str, Any]
    truths: Mapping[str, Any]
    imbalance: float = IMBALANCE
    within: float | None = None

    def __post_init__(self):
        if not self.runs:
            raise TrialError("Operating characteristics need at least one scenario's run.")
        for name in self.runs:
            for what, given in (("scenario", self.scenarios), ("truth", self.truths)):
                if name not in given:
                    raise TrialError(f"Operating characteristics: the run {name!r} has no {what}; there are {listing(given)}"
                                     f"{did_you_mean(name, given)}")
            if name in self.equal_runs and self.replicates(name) != (other := len(self.equal_runs[name]["size"])):
                raise TrialError(f"Scenario {name!r} has {self.replicates(name):,} replicates of the design and {other:,} with equal allocation; "
                                 "a paired comparison needs the same ones.")
        if not 0 < self.imbalance < 1:
            raise TrialError(f"imbalance is a share of the size between 0 and 1, got {self.imbalance!r}.")

    def replicates(self, scenario: str) -> int:
        """Number of replicates of a scenario."""
        return len(self.runs[scenario]["size"])

    def question(self, scenario: str) -> Question:
        """A scenario's truth with the names of the design's arms, regimes and rules."""
        within = self.design.study.mcid if self.within is None else self.within
        return Question(self.design, self.design.layout, self.truths[scenario], self.imbalance, within)

    @cached_property
    def characteristics(self) -> tuple[Characteristic, ...]:
        """Every operating characteristic under every scenario."""
        return tuple(c for name in self.runs for c in self._of(name))

    def _of(self, scenario: str) -> list[Characteristic]:
        ask, read = self.question(scenario), Reader(self.runs[scenario])
        other = Reader(self.equal_runs[scenario]) if scenario in self.equal_runs else None
        return [_characteristic(scenario, quantity, ask, read, other) for quantity in quantities(ask)]

    def get(self, scenario: str, quantity: str, of: str = "") -> Characteristic:
        """One operating characteristic.

        Parameters
        ----------
        scenario, quantity : str
        of : str
            The arm, regime, rule, look or response that it is about.

        Raises
        ------
        TrialError
            For an unknown name.
        """
        if scenario not in self.runs:
            raise TrialError(f"No scenario {scenario!r}; there are {listing(self.runs)}{did_you_mean(scenario, self.runs)}")
        mine = [c for c in self.characteristics if c.scenario == scenario]
        named = [c for c in mine if c.quantity == quantity]
        if not named:
            names = list(dict.fromkeys(c.quantity for c in mine))
            raise TrialError(f"No quantity {quantity!r} under {scenario!r}; there are {listing(names, 40)}{did_you_mean(quantity, names)}")
        found = [c for c in named if c.of == of]
        if not found:
            raise TrialError(f"{quantity!r} is about {listing(c.of for c in named)}; got of={of!r}{did_you_mean(of, [c.of for c in named])}")
        return found[0]

    def frame(self) -> "DataFrame":
        """One row per scenario and quantity.

        Returns
        -------
        pandas.DataFrame
            ``scenario``, ``quantity``, ``of``, ``kind``; ``adaptive``, ``adaptive_mcse``, ``adaptive_lower``, ``adaptive_upper`` (95 % Monte Carlo
            interval) and the same of ``equal`` and of the paired ``difference``; ``replicates``.
        """
        import pandas as pd

        rows = []
        for c in self.characteristics:
            row: dict[str, Any] = {"scenario": c.scenario, "quantity": c.quantity, "of": c.of, "kind": c.kind}
            for name, e in (("adaptive", c.adaptive), ("equal", c.equal), ("difference", c.difference)):
                row |= {name: e.value, f"{name}_mcse": e.error, f"{name}_lower": e.lower, f"{name}_upper": e.upper}
            rows.append(row | {"replicates": self.replicates(c.scenario)})
        return pd.DataFrame(rows)

    def json(self) -> str:
        """All numbers as JSON text: design, scenarios with their truths, rows as in :meth:`frame`; what is not a number is null."""
        truths = {}
        for name in self.runs:
            truth = self.truths[name]
            truths[name] = {"null": bool(self.question(name).null), "optimal": float(truth.optimal),
                            "regimes": [{"regime": label, "value": float(v), "error": float(e), "best": bool(b)} for label, v, e, b
                                        in zip(self.design.layout.regime_labels, truth.values, truth.errors, truth.best, strict=True)]}
        content = {"design": in_short(self.design), "imbalance": self.imbalance, "scenarios": truths, "rows": self.frame().to_dict("records")}
        return json.dumps(_plain(content), indent=1, allow_nan=False)

    def table(self, scenario: str | None = None) -> str:
        """The numbers as text of at most 100 columns, one block per scenario; of one scenario alone where it is named."""
        from .tables import table

        return table(self, scenario)

    def __str__(self) -> str:
        return self.table()


def _characteristic(scenario: str, quantity: Quantity, ask: Question, read: Reader, other: Reader | None) -> Characteristic:
    one, errors = quantity.measure(read, ask), ask.truth.errors
    if other is None:
        return Characteristic(scenario, quantity.name, quantity.of, one.kind, estimate(one, errors), MISSING, MISSING)
    two = quantity.measure(other, ask)
    return Characteristic(scenario, quantity.name, quantity.of, one.kind, estimate(one, errors), estimate(two, errors), paired(one, two, errors))


def _plain(thing: Any) -> Any:
    if isinstance(thing, Mapping):
        return {k: _plain(v) for k, v in thing.items()}
    if isinstance(thing, list):
        return [_plain(v) for v in thing]
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing
