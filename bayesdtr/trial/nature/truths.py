"""True values of a design's regimes under a scenario: by enumeration where histories are discrete, otherwise by fixed quasi-random points."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from ...errors import TrialError
from ...study import Study
from ...study.partition import tests_of
from ...study.rules import Rules, embedded_regimes, tailoring_variables
from ...study.timeline import Baseline, Decision, Response, finite_values
from ...text import fold
from .bound import Bound, BoundLaw, bind
from .covariates import Joint, Levels
from .draws import pmf
from .laws import Cells, Form, Law
from .resampled import Resampled
from .scenario import Scenario

POINTS, SCRAMBLES, SEED = 2**13, 16, 20_240_229
LARGEST_TREE = 200_000
TIED = 1e-9
"""Regimes whose values differ by no more are equally good."""
Rows = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class ScenarioTruth:
    """What is true of a design's regimes under a scenario.

    Attributes
    ----------
    regimes : tuple of str
        Labels, in the order of ``layout.regimes``.
    values : array, shape (regime,)
        Expected utility when everybody is assigned by the regime (what patients then take is as the scenario says), without drift and
        without dropout; averaged over sites.
    errors : array, shape (regime,)
        Standard errors of the values; 0 where they are exact.
    best : array of bool, shape (regime,)
        Regimes that are not told from the largest: within 1e-9, or within 4 standard errors of the difference.
    optimal : float
        The largest value.
    optimal_rule : str
        Label of the first regime that has it.
    null : bool
        Whether all regimes are equally good.
    """

    regimes: tuple[str, ...]
    values: np.ndarray
    errors: np.ndarray
    best: np.ndarray
    optimal: float
    optimal_rule: str
    null: bool

    @property
    def exact(self) -> bool:
        """Whether the values are without error beyond rounding."""
        return not self.errors.any()

    def __str__(self) -> str:
        width = min(max(map(len, (*self.regimes, "regime"))), 70)
        rows = [f"{'best' if b else '':<5}{label[:width]:<{width}}  {v:12.6g}" + ("" if self.exact else f"  {e:9.2g}")
                for label, v, e, b in zip(self.regimes, self.values, self.errors, self.best, strict=True)]
        how = "by enumeration" if self.exact else f"by {SCRAMBLES} x {POINTS:,} scrambled Sobol points, with standard errors"
        head = f"{'':<5}{'regime':<{width}}  {'value':>12}" + ("" if self.exact else f"  {'SE':>9}")
        return "\n".join([fold(f"True values of {len(rows)} regimes, {how}; without drift and dropout"), head, *rows])


def truth(design: Any, scenario: Scenario) -> ScenarioTruth:
    """True values of the embedded regimes of a design, or a study, under a scenario.

    Parameters
    ----------
    design : TrialDesign or Study
    scenario : Scenario

    Returns
    -------
    ScenarioTruth

    Raises
    ------
    TrialError
        Where the scenario does not fit the study, or arguments are of another kind.

    Notes
    -----
    Values are exact, ``sum over histories of P(history) utility(history)``, where covariates and intermediate responses are discrete;
    a response that only enters the utility by its weight counts by its mean. Otherwise histories come from scrambled Sobol points by
    inverse cdf, the same for all regimes, and the standard error is that of 16 independent scramblings (Owen 1997).
    Drift is left out (as for the first patient), and so is dropout, which does not depend on treatment.
    """
    study = design if isinstance(design, Study) else getattr(design, "study", None)
    if not isinstance(study, Study) or not isinstance(scenario, Scenario):
        raise TrialError(f"truth takes a TrialDesign or a Study, then a Scenario; got {type(design).__name__}, {type(scenario).__name__}.")
    tree = _Tree(bind(study, scenario, size=1))
    regimes = embedded_regimes(study)
    if tree.exact:
        values, errors, apart = np.array([tree.value(r) for r in regimes]), np.zeros(len(regimes)), np.full(len(regimes), TIED)
    else:
        each = np.stack([[tree.value(r, u) for r in regimes] for u in _points(tree.dimensions)])
        values, errors = each.mean(axis=0), _standard_error(each)
        apart = np.maximum(TIED, 4 * _standard_error(each - each[:, [int(values.argmax())]]))
    if not np.isfinite(values).all():
        raise TrialError(f"Scenario {scenario.name!r}: the value of {regimes[int(np.isnan(values).argmax())].label!r} is no finite number.")
    # Rounding in sums of different order must not tell regimes apart.
    apart = np.maximum(apart, TIED * np.abs(values).max())
    best = values >= values.max() - apart
    labels = tuple(r.label for r in regimes)
    return ScenarioTruth(labels, values, errors, best, float(values.max()), labels[int(best.argmax())], bool(best.all()))


def _points(dimensions: int) -> Iterator[np.ndarray]:
    for i in range(SCRAMBLES):
        u = qmc.Sobol(max(dimensions, 1), seed=np.random.default_rng([SEED, i])).random(POINTS)
        yield np.clip(u, 1e-12, 1 - 1e-12)


def _standard_error(each: np.ndarray) -> np.ndarray:
    return each.std(axis=0, ddof=1) / np.sqrt(len(each))


class _Tree:
    """Histories under a regime, with their probabilities: all of them, or one for each point."""

    def __init__(self, bound: Bound):
        self.bound, self.study, self.scenario = bound, bound.study, bound.scenario
        self.taken = {n: np.diff(c, axis=1, prepend=0.0) for n, c in bound.taken.items()}
        self.site_sd = {n: sd for n, sd in (self.scenario.clusters.sd if self.scenario.clusters else ()) if sd > 0}
        self.mean_only = {law.node.name for law in bound.laws if self._mean_only(law)}
        self.exact = self._is_exact()
        self.dimensions, self.place = self._layout()

    # ---- what can be done exactly ------------------------------------------------------------------

    def _mean_only(self, law: BoundLaw) -> bool:
        """Whether nothing but the mean of a response counts: a weight, and nothing later looks at it."""
        study, name = self.study, law.node.name
        if law.node.family.levels is not None or study.utility.attitude is not None or study.tables_of(name) or study.lives(name):
            return False
        if any(name in part.names for part in (*study.utility.tables, *(life for life, _ in study.utility.times))):
            return False
        later = study.timeline[study.names.index(name) + 1 :]
        for node in later:
            if isinstance(node, Decision) and name in {*tests_of([c for c, _ in node.choices]), *tailoring_variables(study, node)}:
                return False
            if isinstance(node, Response) and _looks_at(dict(self.scenario.responses)[node.name], name):
                return False
        return name not in self.site_sd or law.node.family.link == "identity"

    def _is_exact(self) -> bool:
        baseline, rows = self.scenario.baseline, 1.0
        if isinstance(baseline, Resampled):
            rows = float(len(baseline.weights))
        elif isinstance(baseline, Joint):
            if self.study.baselines:
                return False
        elif any(not isinstance(c, Levels) for _, c in baseline):
            return False
        for node in self.study.timeline:
            if isinstance(node, Response) and node.name not in self.mean_only:
                values = finite_values(node)
                if values is None or node.name in self.site_sd:
                    return False
                rows *= len(values)
            elif isinstance(node, Decision) and node.name in self.taken:
                rows *= len(node.options)
            elif isinstance(node, Baseline) and not isinstance(baseline, Joint):
                rows *= len(dict(self.scenario.baseline)[node.name].probabilities)
        return rows <= LARGEST_TREE

    def _layout(self) -> tuple[int, dict[str, int]]:
        """Which coordinate of the points is whose."""
        place, count = {}, 0
        for node in self.study.timeline:
            if isinstance(node, Baseline) and isinstance(self.scenario.baseline, Joint):
                if "*" not in place:
                    place["*"], count = count, count + self.scenario.baseline.count
            elif isinstance(node, Decision) and node.name not in self.taken:
                continue
            else:
                place[node.name], count = count, count + 1
        for name in self.site_sd:
            place[f"site {name}"], count = count, count + 1
        return count, place

    # ---- the value of one regime -------------------------------------------------------------------

    def value(self, regime: Rules, u: np.ndarray | None = None) -> float:
        """Expected utility; by enumeration, or as the mean over points of shape (n, dimension)."""
        rows = 1 if u is None else len(u)
        weight = np.full(rows, 1.0 / rows)
        assigned: Rows = {}
        baseline = self.scenario.baseline
        if u is not None and "*" in self.place:
            begin = self.place["*"]
            assigned = baseline.columns(u[:, begin : begin + baseline.count], self.study)
        elif u is None and isinstance(baseline, Resampled):
            assigned, weight = baseline.support(self.study), baseline.weights
        taken: Rows = dict(assigned)
        total = 0.0
        for node in self.study.timeline:
            if node.name in assigned:
                continue
            if isinstance(node, Baseline):
                keep, values, weight = self._covariate(node, weight, u)
                assigned, taken = _grown(assigned, keep, node.name, values), _grown(taken, keep, node.name, values)
            elif isinstance(node, Decision):
                option = regime.option(self.study, node.name, assigned) if assigned else regime.option(self.study, node.name, {"": np.zeros(rows)})
                here = np.flatnonzero(option >= 0)
                assigned, taken, weight, option = _some(assigned, here), _some(taken, here), weight[here], option[here]
                u = None if u is None else u[here]
                keep, got, weight = self._received(node, option, weight, u)
                assigned, taken = _grown(assigned, keep, node.name, option[keep]), _grown(taken, keep, node.name, got)
            else:
                keep, values, weight = self._response(node, taken, weight, u)
                assigned, taken = _grown(assigned, keep, node.name, values), _grown(taken, keep, node.name, values)
                total += float(weight @ self._earned(node.name, assigned))
            u = None if u is None else u[keep]
        return total

    def _covariate(self, node: Baseline, weight: np.ndarray, u: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        law = dict(self.scenario.baseline)[node.name]
        if u is not None:
            return np.arange(len(weight)), law.drawn(u[:, self.place[node.name]], node), weight
        assert isinstance(law, Levels)
        values, chances = law.support(node)
        return _every(weight, values, np.broadcast_to(chances, (len(weight), len(chances))))

    def _received(self, node: Decision, option: np.ndarray, weight: np.ndarray, u: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if node.name not in self.taken:
            return np.arange(len(weight)), option, weight
        chances = self.taken[node.name][option]
        if u is not None:
            got = (u[:, [self.place[node.name]]] >= np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)
            return np.arange(len(weight)), got, weight
        return _every(weight, np.arange(chances.shape[1]), chances)

    def _response(self, node: Response, taken: Rows, weight: np.ndarray, u: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        law = self.bound.laws[self.study.responses.index(node)]
        rows = np.arange(len(weight))
        mean, extras = law.parameters(taken, len(weight))
        if node.name in self.mean_only:
            return rows, mean, weight
        if u is not None:
            shift = None
            if node.name in self.site_sd:
                shift = self.site_sd[node.name] * ndtri(u[:, self.place[f"site {node.name}"]])
            return rows, law.draw(u[:, self.place[node.name]], taken, shift), weight
        chances = pmf(node.family, mean, extras)
        return _every(weight, np.arange(chances.shape[1], dtype=float), chances)

    def _earned(self, name: str, assigned: Rows) -> np.ndarray:
        study = self.study
        if study.utility.attitude is not None:
            return study.earned(name, assigned) if study.pays(name) else np.zeros(len(assigned[name]))
        return study.counted(name, assigned) if study.counts(name) else np.zeros(len(assigned[name]))


def _looks_at(law: Law, name: str) -> bool:
    """Whether a law may depend on a variable; functions may on all."""
    forms: list[Form] = [law.mean, *(f for _, f in law.extras)]
    for form in forms:
        if isinstance(form, Cells):
            if any(name in getattr(k, "variables", ()) for k, _ in form.rows):
                return True
        elif not isinstance(form, float) and form.looks_at(name):
            return True
    return False


def _some(columns: Mapping[str, np.ndarray], rows: np.ndarray) -> Rows:
    return {n: c[rows] for n, c in columns.items()}


def _grown(columns: Mapping[str, np.ndarray], keep: np.ndarray, name: str, values: np.ndarray) -> Rows:
    return {**_some(columns, keep), name: values}


def _every(weight: np.ndarray, values: np.ndarray, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each row with every value that it may have: rows kept, values, weights."""
    after = weight[:, None] * chances
    row, value = np.nonzero(after)
    return row, values[value], after[row, value]
