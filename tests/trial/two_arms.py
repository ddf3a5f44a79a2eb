"""A stand-in for simulation whose every law is known: Bernoulli arms of equal size, looks after so many patients an arm, flat Beta priors."""

import itertools
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
from scipy import stats

from bayesdtr.study import Bernoulli, Decision, Response, Saturated, Study, Utility
from bayesdtr.trial.design import TrialDesign
from bayesdtr.trial.records import blank
from bayesdtr.trial.stopping import StoppingRule
from bayesdtr.trial.stopping.rule import at_look, per_look

GRID = (np.arange(2000) + 0.5) / 2000


@dataclass(frozen=True)
class Best(StoppingRule):
    """Stops where P(best) of an arm exceeds a level, and declares that arm."""

    threshold: float | tuple[float, ...] = 0.975

    @property
    def declares(self) -> bool:
        return True

    def statistic(self, state):
        raise AssertionError("nobody looks: this world's records are drawn from their law")

    def level(self, look: int) -> float:
        return at_look(self.threshold, look)

    def at(self, level):
        return replace(self, threshold=per_look(level))

    def text(self) -> str:
        return f"P(best) > {self.threshold}"


@dataclass(frozen=True)
class Arms:
    """Event probabilities of the arms; `jump` is added to the later half of patients of every arm."""

    name: str
    p: tuple[float, ...]
    jump: float = 0.0


def study(options=("A", "B")) -> Study:
    return Study(Decision("treatment", list(options)), Response("event", Bernoulli(), model=Saturated()), utility=Utility("event"))


def design(size=40, looks=None, threshold=0.975, options=("A", "B"), rules=None) -> TrialDesign:
    return TrialDesign(study(options), size=size, looks=looks or [size], stopping=[Best(threshold=threshold)] if rules is None else rules)


def truth(design, scenario) -> SimpleNamespace:
    values = np.array(scenario.p, float)
    best = values >= values.max() - 1e-9
    return SimpleNamespace(values=values, errors=np.zeros(len(values)), best=best, optimal=values.max(), null=bool(best.all()))


def p_best(success: np.ndarray, n: int) -> np.ndarray:
    """P(each arm is best) given counts out of n in each, shape (trial, arm)."""
    made = {s: (stats.beta.pdf(GRID, 1 + s, 1 + n - s), stats.beta.cdf(GRID, 1 + s, 1 + n - s)) for s in np.unique(success)}
    rows, where = np.unique(success, axis=0, return_inverse=True)
    found = np.array([[np.mean(made[row[a]][0] * np.prod([made[row[b]][1] for b in range(len(row)) if b != a], axis=0)) for a in range(len(row))]
                      for row in rows])
    return (found / found.sum(axis=1, keepdims=True))[where.ravel()]


class Run(dict):
    """Records with the attributes that a run has."""


def run(design, scenario, replicates, *, seed, keep="summary", **_) -> Run:
    """Simulate; looks count patients over all arms, a multiple of their number."""
    layout, arms = design.layout, len(scenario.p)
    made = Run(blank(layout, replicates, keep))
    per_arm = np.array(design.looks.points, int) // arms
    rng = np.random.default_rng([seed, 77])
    steps, late = np.diff(per_arm, prepend=0), per_arm > design.size // arms / 2 + 1e-9
    success = np.cumsum([rng.binomial(step, np.array(scenario.p) + scenario.jump * (is_late > 0), (replicates, arms))
                         for step, is_late in zip(steps, late, strict=True)], axis=0)
    going = np.ones(replicates, bool)
    made["stopped_at"][:] = len(per_arm) - 1
    for look, n in enumerate(per_arm):
        best = p_best(success[look], n)
        for i in range(len(design.stopping)):
            statistic = best.max(axis=1)
            made["path_max"][:, i] = np.where(going, np.maximum(made["path_max"][:, i], statistic), made["path_max"][:, i])
            if "statistic" in made:
                made["statistic"][going, look, i] = statistic[going]
                made["p_best_look"][going, look], made["probability_look"][going, look] = best[going], 1 / arms
        for i, rule in enumerate(design.stopping):
            fires = going & (statistic > rule.level(look)) & rule.binding
            made["stopped_by"][fires], made["stopped_at"][fires] = i, look
            if rule.declares:
                made["declared"][fires] = np.eye(arms, dtype=bool)[best[fires].argmax(axis=1)]
            _finish(made, fires, success[look], n, best, arms, layout)
            going &= ~fires
    _finish(made, going, success[-1], per_arm[-1], best, arms, layout)
    made.replicates, made.seed, made.design, made.scenario, made.layout, made.keep = replicates, seed, design, scenario, layout, keep
    return made


def _finish(made, who, success, n, best, arms, layout) -> None:
    a, b = 1 + success[who], 1 + n - success[who]
    for field in ("mean", "mean_decision"):
        made[field][who] = a / (a + b)
    for field in ("sd", "sd_decision"):
        made[field][who] = np.sqrt(a * b / (a + b) ** 2 / (a + b + 1))
    made["lower"][who], made["upper"][who] = stats.beta.ppf(0.025, a, b), stats.beta.ppf(0.975, a, b)
    made["p_best"][who] = made["p_best_decision"][who] = best[who]
    for field in ("selected", "selected_final"):
        made[field][who] = (a / (a + b)).argmax(axis=1)
    made["size"][who] = made["known"][who] = made["completed"][who] = n * arms
    made["duration"][who] = made["follow_up"][who] = n * arms
    made["active"][who] = True
    made["allocated"][who] = made["followed"][who] = n
    made["total"][who, 0] = made["utility"][who] = success[who].sum(axis=1)
    made["observed"][who, 0] = n * arms


def exact(p, n, threshold):
    """P(each arm is declared) of a trial with one look at n an arm, by summing over all counts; and the same of selection."""
    cells = np.array(list(itertools.product(range(n + 1), repeat=len(p))))
    weight = np.prod([stats.binom.pmf(cells[:, i], n, p[i]) for i in range(len(p))], axis=0)
    best = p_best(cells, n)
    declared = np.array([weight[(best.argmax(axis=1) == i) & (best[:, i] > threshold)].sum() for i in range(len(p))])
    selected = np.array([weight[cells.argmax(axis=1) == i].sum() for i in range(len(p))])
    return declared, selected, (cells, weight)
