"""Posteriors with chosen draws, and a literal evaluation of regimes by summing over histories.

Nothing here calls the package's evaluation of conditions, rules or trees: histories are dicts of
labels, and values are sums over every path, so that agreement means something.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from bayesdtr.data import fix_scales, read
from bayesdtr.inference import Posterior
from bayesdtr.inference.fit import assemble
from bayesdtr.inference.nuts import Draws
from bayesdtr.model import compile_response
from bayesdtr.study import Baseline, Bernoulli, Condition, Decision, Lottery, Response, Rules, Saturated, Study, when
from bayesdtr.study.conditions import Interval
from bayesdtr.study.saturated import saturated_cells

History = dict[str, object]
Law = Callable[[str, History], list[tuple[object, object]]]
"""From a response and a history to its outcomes: pairs of a value and a probability, scalars or one per draw."""


# ---- conditions and histories, literally ---------------------------------------------------------


def holds(condition: Condition, history: History) -> bool:
    """Whether every test of a condition holds for one patient."""
    for name, test in condition.tests:
        value = history[name]
        if isinstance(test, Interval):
            if (test.low is not None and value < test.low) or (test.high is not None and value >= test.high):
                return False
        elif value not in test.labels:
            return False
    return True


def offered(decision: Decision, history: History) -> tuple[str, ...]:
    """The options feasible for one patient."""
    (options,) = [options for condition, options in decision.choices if holds(condition, history)]
    return options


def chosen(rules: Rules, decision: Decision, history: History) -> str:
    """The option that written rules name for one patient."""
    options = offered(decision, history)
    if len(options) == 1:
        return options[0]
    return next(option for condition, option in dict(rules.decisions)[decision.name] if holds(condition, history))


def drawn(rules: Rules, decision: Decision, history: History) -> dict[str, float]:
    """The options that written rules may draw for one patient, with their probabilities; one with probability 1 where they name it."""
    options = offered(decision, history)
    if len(options) == 1:
        return {options[0]: 1.0}
    found = next(option for condition, option in dict(rules.decisions)[decision.name] if holds(condition, history))
    return dict(found.chances) if isinstance(found, Lottery) else {found: 1.0}


def weight(study: Study, response: str) -> float:
    """Weight of a response in the utility, discounted by the decisions made before the one it follows."""
    before = sum(isinstance(n, Decision) for n in study.timeline[: study.names.index(response)])
    return dict(study.utility.weights).get(response, 0.0) * study.utility.discount ** (before - 1)


def histories(study: Study, stop: str | None = None) -> Iterator[History]:
    """Every history of a discrete study before a decision, or before the end."""
    found: list[History] = [{}]
    for node in study.timeline:
        if node.name == stop:
            break
        grown = []
        for h in found:
            if isinstance(node, Decision):
                values = offered(node, h)
            elif isinstance(node, Baseline):
                values = node.levels
            else:
                values = node.support or (0.0,)
            grown += [{**h, node.name: v} for v in values]
        found = grown
    yield from found


def frame_of(rows: list[History]) -> pd.DataFrame:
    """Histories as a data frame."""
    return pd.DataFrame(rows)


def cohort(study: Study, n: int = 80, seed: int = 1) -> pd.DataFrame:
    """Patients with arbitrary data that fit a study: options at random among the feasible."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        h: History = {}
        for node in study.timeline:
            if isinstance(node, Decision):
                h[node.name] = str(rng.choice(offered(node, h)))
            elif isinstance(node, Baseline):
                h[node.name] = str(rng.choice(node.levels)) if node.levels else float(rng.normal())
            else:
                h[node.name] = int(rng.choice(node.support)) if node.support else float(rng.normal())
        rows.append(h)
    return frame_of(rows)


# ---- posteriors with chosen draws -----------------------------------------------------------------


def posterior_with(study: Study, draws: dict[str, dict[str, np.ndarray]], frame: pd.DataFrame | None = None, seed: int = 1) -> Posterior:
    """A posterior whose draws are given, ``{response: {parameter: (chain, draw, ...)}}``."""
    trajectories = read(study, cohort(study) if frame is None else frame)
    compiled = {r.name: compile_response(study, r.name, trajectories.cluster_labels) for r in study.responses}
    results = {name: Draws(draws[name], {}) for name in compiled}
    return assemble(study, trajectories, fix_scales(study, trajectories), compiled, results, seed=seed, engine="nuts")


def random_cells(study: Study, seed: int, chains: int = 2, per_chain: int = 12) -> dict[str, dict[str, np.ndarray]]:
    """Arbitrary draws of every saturated response."""
    rng = np.random.default_rng(seed)
    draws = {}
    for response in study.responses:
        cells = len(saturated_cells(study, response).labels)
        if response.support:
            centre = rng.beta(2, 2, cells)
            draws[response.name] = {"probability": rng.beta(8 * centre, 8 * (1 - centre), (chains, per_chain, cells))}
        else:
            centre = rng.normal(0, 3, cells)
            draws[response.name] = {"mean": rng.normal(centre, 1.5, (chains, per_chain, cells)), "sigma": rng.gamma(4, 0.3, (chains, per_chain))}
    return draws


def cell_law(study: Study, draws: dict[str, dict[str, np.ndarray]], average: bool) -> Law:
    """What saturated cells say: cells found by their labels; averaged over draws, or one entry per draw."""
    flat = {n: {p: v.reshape(-1, *v.shape[2:]) for p, v in d.items()} for n, d in draws.items()}
    cells = {r.name: {label: i for i, label in enumerate(saturated_cells(study, r).labels)} for r in study.responses}
    over = {r.name: saturated_cells(study, r).names for r in study.responses}

    def law(name: str, history: History) -> list[tuple[object, object]]:
        response = study[name]
        assert isinstance(response, Response) and isinstance(response.model, Saturated)
        index = cells[name][", ".join(str(history[n]) for n in over[name])]
        column = flat[name]["probability" if response.support else "mean"][:, index]
        number = column.mean() if average else column
        return [(1, number), (0, 1 - number)] if response.support else [(number, 1.0)]

    return law


# ---- sums over paths --------------------------------------------------------------------------------


def value_of(study: Study, policy: Callable[[Decision, History], str | dict[str, float]], law: Law, history: History, position: int | None = None):
    """Expected utility from a history on under a policy, by summing over every path; options that it draws come with their probabilities."""
    position = len(study.baselines) if position is None else position
    if position == len(study.timeline):
        return 0.0
    node = study.timeline[position]
    if isinstance(node, Decision):
        told = policy(node, history)
        chances = told if isinstance(told, dict) else {told: 1.0}
        return sum(p * value_of(study, policy, law, {**history, node.name: option}, position + 1) for option, p in chances.items())
    w = weight(study, node.name)
    return sum(p * (w * v + value_of(study, policy, law, {**history, node.name: v}, position + 1)) for v, p in law(node.name, history))


Plan = dict[tuple[str, tuple[tuple[str, object], ...]], str]
"""A deterministic regime: an option for each history it can reach."""


def key_of(study: Study, decision: str, history: History) -> tuple[str, tuple[tuple[str, object], ...]]:
    """Name of a history: its decision and its discrete values."""
    discrete = [n.name for n in study.before(decision) if not (isinstance(n, Response) and n.support is None)]
    return decision, tuple((n, history[n]) for n in discrete)


def all_regimes(study: Study, law: Law, history: History, position: int | None = None) -> list[tuple[object, Plan]]:
    """Every deterministic regime from a history on, with its value; no maximum is taken anywhere."""
    position = len(study.baselines) if position is None else position
    if position == len(study.timeline):
        return [(0.0, {})]
    node = study.timeline[position]
    if isinstance(node, Decision):
        found = []
        for option in offered(node, history):
            after = all_regimes(study, law, {**history, node.name: option}, position + 1)
            found += [(value, {key_of(study, node.name, history): option, **plan}) for value, plan in after]
        return found
    w = weight(study, node.name)
    branches = []
    for v, p in law(node.name, history):
        after = all_regimes(study, law, {**history, node.name: v}, position + 1)
        branches.append([(p * (w * v + value), plan) for value, plan in after])
    combined = []
    for parts in itertools.product(*branches):
        plan: Plan = {}
        for _, part in parts:
            plan |= part
        combined.append((sum(value for value, _ in parts), plan))
    return combined


# ---- a binary SMART with given counts -------------------------------------------------------------

SMART = Study(
    Decision("a1", ["+1", "-1"]), Response("responded", Bernoulli(), model=Saturated()),
    Decision("a2", {when(responded=0): ["+1", "-1"], when(responded=1): ["continue"]}), Response("success", Bernoulli(), model=Saturated()),
    utility="success",
)
COUNTS = {
    ("+1", 1, "continue"): (87, 14), ("+1", 0, "+1"): (16, 6), ("+1", 0, "-1"): (21, 6),
    ("-1", 1, "continue"): (50, 24), ("-1", 0, "+1"): (34, 20), ("-1", 0, "-1"): (42, 27),
}
"""Patients and successes of each cell."""


def smart_frame() -> pd.DataFrame:
    """One row per patient of `COUNTS`."""
    rows = [(*cell, int(i < y)) for cell, (n, y) in COUNTS.items() for i in range(n)]
    return pd.DataFrame(rows, columns=["a1", "responded", "a2", "success"])
