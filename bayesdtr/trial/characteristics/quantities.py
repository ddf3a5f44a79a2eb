"""What is asked of a run: each operating characteristic, defined on the records of its replicates and the scenario's truth."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...study.families import Labelled
from ..design import TrialDesign
from ..layout import Layout
from ..stopping.naming import one
from .estimates import Measured, mean, probability, quantile, ratio, root_mean_square, spread

TIE = 1e-9
"""Values that differ by no more are equal."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Truth(Protocol):
    """True values of the embedded regimes under a scenario."""

    values: np.ndarray
    errors: np.ndarray
    best: np.ndarray
    optimal: float
    null: bool


class Reader:
    """Arrays of one run, each read once and kept until the scenario is done with."""

    def __init__(self, run: Any):
        self._run, self._read = run, {}

    def __getitem__(self, field: str) -> np.ndarray:
        if field not in self._read:
            self._read[field] = np.asarray(self._run[field])
        return self._read[field]


@dataclass(frozen=True, eq=False)
class Question:
    """A scenario's truth and what the design calls things.

    Attributes
    ----------
    design : TrialDesign
    layout : Layout
    truth : Truth
    imbalance : float
        Share of the size by which an arm must outnumber another to count as an imbalance.
    within : float or None
        Loss in value against the best regime that does not matter.
    """

    design: TrialDesign
    layout: Layout
    truth: Truth
    imbalance: float
    within: float | None

    @property
    def null(self) -> bool:
        """Whether all regimes are equally good."""
        return bool(self.truth.null) or bool(np.all(self.truth.best))

    @property
    def starts(self) -> np.ndarray:
        """Whether each option of the first decision starts a best regime, shape (option,)."""
        first = self.layout.decisions[0]
        options = [o for d, o in self.layout.arms if d == first]
        best = [r for r, good in zip(self.layout.regimes, self.truth.best, strict=True) if good]
        chosen = {option for r in best for _, option in dict(r.decisions).get(first, ())}
        return np.array([o in chosen for o in options])


    @property
    def right(self) -> np.ndarray:
        """Whether each stopping rule, were it to declare a regime superior, would be right, shape (rule, regime).

        A rule that compares with a given regime is right about those that are better than it by more than the rule's margin; other rules are
        right about best regimes, unless all are.
        """
        values, best = np.asarray(self.truth.values, float), np.asarray(self.truth.best, bool) & (not self.null)
        rows = []
        for rule in self.design.stopping:
            against = getattr(rule, "against", None)
            if against is None:
                rows.append(best)
            else:
                rows.append(values > values[one(self.design.study, against, "against")] + getattr(rule, "margin", 0.0) + TIE)
        return np.array(rows, bool).reshape(len(rows), len(values))


Measure = Callable[[Reader, Question], Measured]


@dataclass(frozen=True)
class Quantity:
    """One operating characteristic.

    Attributes
    ----------
    name : str
    of : str
        The arm, regime, rule, look or response that it is about; empty where it is about the trial.
    measure : callable
        From a run's arrays and the question to a functional.
    """

    name: str
    of: str
    measure: Measure


def quantities(ask: Question) -> Iterator[Quantity]:
    """All operating characteristics of a scenario, in the order of tables."""
    yield from _conclusions(ask)
    yield from _course(ask)
    yield from _patients(ask)
    yield from _afterwards()
    yield from _estimation(ask.layout)
    yield from _stopping(ask.layout)


# ---- what is concluded -------------------------------------------------------------------------------------------


def declared_any(read: Reader) -> np.ndarray:
    """Whether any regime is declared superior, shape (replicate,)."""
    return read["declared"].any(axis=1)


def declared_wrong(read: Reader, ask: Question) -> np.ndarray:
    """Whether a regime is declared superior that is not (:attr:`Question.right`)."""
    if not len(ask.layout.rules):
        return np.zeros(len(read["declared"]), bool)
    return (read["declared"] & ~ask.right[np.maximum(read["stopped_by"], 0)]).any(axis=1)


def declared_right(read: Reader, ask: Question) -> np.ndarray:
    """Whether regimes are declared superior, and all of them are."""
    return declared_any(read) & ~declared_wrong(read, ask)


def declared_reversed(read: Reader) -> np.ndarray:
    """Whether regimes are declared superior, and another is selected once all outcomes are known."""
    return declared_any(read) & (_of_selected(read, read["declared"]) == 0)


def selected_best(read: Reader, ask: Question, field: str = "selected_final") -> np.ndarray:
    """Whether the selected regime is a best one."""
    return _of_selected(read, np.broadcast_to(ask.truth.best, read["mean"].shape), field) == 1


def selected_near(read: Reader, ask: Question, within: float) -> np.ndarray:
    """Whether the selected regime loses at most so much against the best one."""
    values = np.broadcast_to(ask.truth.values, read["mean"].shape)
    return _of_selected(read, values) >= ask.truth.optimal - within - 1e-12


def _conclusions(ask: Question) -> Iterator[Quantity]:
    wrong = "type_1_error" if ask.null else "wrong_declaration"
    if not ask.null:
        yield Quantity("power", "", lambda r, q: probability(declared_right(r, q)))
    yield Quantity(wrong, "", lambda r, q: probability(declared_wrong(r, q)))
    yield Quantity("declares", "", lambda r, q: probability(declared_any(r)))
    if not ask.null:
        yield Quantity("selects_best", "", lambda r, q: probability(selected_best(r, q)))
        if ask.within:
            within = ask.within
            yield Quantity("selects_near", "", lambda r, q: probability(selected_near(r, q, within)))
        yield Quantity("selects_best_at_decision", "", lambda r, q: probability(selected_best(r, q, "selected")))
    yield Quantity("reversed", "", lambda r, q: probability(declared_reversed(r)))
    for i, label in enumerate(ask.layout.regime_labels):
        yield Quantity("selects", label, lambda r, q, i=i: probability(r["selected_final"] == i))


# ---- how long it takes, and for whom -----------------------------------------------------------------------------


def _course(ask: Question) -> Iterator[Quantity]:
    for name in ("size", "duration"):
        yield Quantity(name, "", lambda r, q, name=name: mean(r[name]))
        yield Quantity(f"{name}_sd", "", lambda r, q, name=name: spread(r[name]))
        for level in QUANTILES:
            yield Quantity(f"{name}_quantile", f"{level:.0%}", lambda r, q, name=name, level=level: quantile(r[name], level))
    yield Quantity("known", "", lambda r, q: mean(r["known"]))
    yield Quantity("follow_up", "", lambda r, q: mean(r["follow_up"]))


def _patients(ask: Question) -> Iterator[Quantity]:
    layout = ask.layout
    for d in range(len(layout.decisions)):
        arms = layout.arms_of(d)
        for i in range(arms.start, arms.stop):
            label = layout.arm_labels[i]
            yield Quantity("allocated", label, lambda r, q, i=i: mean(r["allocated"][:, i]))
            yield Quantity("share", label, lambda r, q, i=i, arms=arms: ratio(r["allocated"][:, i], r["allocated"][:, arms].sum(axis=1)))
            if ask.design.dropping:
                yield Quantity("drops", label, lambda r, q, i=i: probability(~r["active"][:, i]))
    if not ask.null:
        yield Quantity("on_best", "", lambda r, q: ratio(_on_best(r, q), recruited(r, q)))
    if not ask.null and not ask.starts.all():
        yield Quantity("wrong_imbalance", "", lambda r, q: probability(_wrong_imbalance(r, q)))
    yield Quantity("imbalance", "", lambda r, q: probability(_imbalance(r, q)))
    for k, response in enumerate(layout.responses):
        if isinstance(getattr(ask.design.study[response], "family", None), Labelled):
            continue  # codes of labels have no sum
        yield Quantity("total", response, lambda r, q, k=k: mean(r["total"][:, k]))
        yield Quantity("rate", response, lambda r, q, k=k: ratio(r["total"][:, k], r["observed"][:, k]))
    yield Quantity("utility", "", lambda r, q: ratio(r["utility"], r["completed"]))


def recruited(read: Reader, ask: Question) -> np.ndarray:
    """Patients assigned at the first decision, shape (replicate,)."""
    return read["allocated"][:, ask.layout.arms_of(0)].sum(axis=1)


def _on_best(read: Reader, ask: Question) -> np.ndarray:
    followed = read["followed"][:, np.asarray(ask.truth.best, bool)]
    # Options of a single decision are followed by different patients; courses of several decisions may agree with several regimes.
    return followed.sum(axis=1) if len(ask.layout.decisions) == 1 else followed.max(axis=1)


def _wrong_imbalance(read: Reader, ask: Question) -> np.ndarray:
    first, good = read["allocated"][:, ask.layout.arms_of(0)], ask.starts
    return first[:, ~good].max(axis=1) - first[:, good].max(axis=1) >= ask.imbalance * recruited(read, ask) - 1e-9


def _imbalance(read: Reader, ask: Question) -> np.ndarray:
    first = read["allocated"][:, ask.layout.arms_of(0)]
    return first.max(axis=1) - first.min(axis=1) >= ask.imbalance * recruited(read, ask) - 1e-9


# ---- what it is worth, and what its numbers are worth ------------------------------------------------------------


def _of_selected(read: Reader, values: np.ndarray, field: str = "selected_final") -> np.ndarray:
    """The selected regime's entry of an array (replicate, regime); NaN where none is selected."""
    chosen = read[field].astype(int)
    return np.where(chosen >= 0, np.take_along_axis(values, np.maximum(chosen, 0)[:, None], axis=1)[:, 0].astype(float), np.nan)


def _selection_shares(read: Reader) -> np.ndarray:
    chosen, count = read["selected_final"], read["mean"].shape[1]
    return np.bincount(chosen[chosen >= 0], minlength=count)[:count] / max((chosen >= 0).sum(), 1)


def _true_value(read: Reader, ask: Question) -> np.ndarray:
    return _of_selected(read, np.broadcast_to(ask.truth.values, read["mean"].shape))


def _miss(read: Reader, ask: Question) -> np.ndarray:
    return _of_selected(read, read["mean"]) - _true_value(read, ask)


def _best(ask: Question) -> np.ndarray:
    return np.eye(len(ask.truth.values))[int(np.argmax(ask.truth.values))]


def _squared_slope(read: Reader, ask: Question) -> np.ndarray:
    chosen, miss = read["selected_final"], _miss(read, ask)
    return np.array([-2 * np.where(chosen == i, miss, 0.0).mean() for i in range(read["mean"].shape[1])])


def _afterwards() -> Iterator[Quantity]:
    yield Quantity("future_utility", "", lambda r, q: mean(_true_value(r, q), _selection_shares(r)))
    yield Quantity("future_regret", "", lambda r, q: mean(q.truth.optimal - _true_value(r, q), _best(q) - _selection_shares(r)))


def _estimation(layout: Layout) -> Iterator[Quantity]:
    def covered(read: Reader, ask: Question, i: int | None = None) -> np.ndarray:
        if i is not None:
            return (read["lower"][:, i] <= ask.truth.values[i]) & (ask.truth.values[i] <= read["upper"][:, i])
        low, high, true = _of_selected(read, read["lower"]), _of_selected(read, read["upper"]), _true_value(read, ask)
        return (low <= true) & (true <= high)

    yield Quantity("model_value", "", lambda r, q: mean(_of_selected(r, r["mean"])))
    yield Quantity("bias", "", lambda r, q: mean(_miss(r, q), -_selection_shares(r)))
    yield Quantity("rmse", "", lambda r, q: root_mean_square(_miss(r, q), _squared_slope(r, q)))
    yield Quantity("coverage", "", lambda r, q: probability(covered(r, q)))
    for i, label in enumerate(layout.regime_labels):
        unit = np.eye(len(layout.regimes))[i]
        yield Quantity("regime_bias", label, lambda r, q, i=i, unit=unit: mean(r["mean"][:, i] - q.truth.values[i], -unit))
        yield Quantity("regime_coverage", label, lambda r, q, i=i: probability(covered(r, q, i)))


def _stopping(layout: Layout) -> Iterator[Quantity]:
    for i, label in enumerate(layout.rules):
        yield Quantity("stopped_by", label, lambda r, q, i=i: probability(r["stopped_by"] == i))
    yield Quantity("ran_to_the_end", "", lambda r, q: probability(r["stopped_by"] < 0))
    if layout.rules:
        for look in range(layout.looks):
            yield Quantity("stopped_at_look", f"{look + 1}",
                           lambda r, q, look=look: probability((r["stopped_by"] >= 0) & (r["stopped_at"] == look)))
        for look in range(layout.looks):
            yield Quantity("stopped_by_look", f"{look + 1}",
                           lambda r, q, look=look: probability((r["stopped_by"] >= 0) & (r["stopped_at"] <= look)))
