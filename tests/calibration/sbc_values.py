"""Contrasts between options and values of regimes, per data set and draw: what calibration of decisions is checked on.

Backward induction by recursion over the timeline, without the package's decision layer: discrete responses are
enumerated, a continuous one comes last and enters by its expectation.
"""

import numpy as np

from bayesdtr.model import compile_response, evaluate, make_inputs
from bayesdtr.study import Decision, Response
from bayesdtr.study.timeline import labels_of

PATIENTS = 16
"""Patients that a regime's value is averaged over; of the first two contrasts are reported."""


def looked_up(compiled, draws):
    """The parameters that a response's model takes, its own and those it shares with others, from ``{response: {name: array}}``."""
    found = {}
    for p in compiled.parameters:
        if p in draws[compiled.name]:
            found[p] = draws[compiled.name][p]
        else:
            other, name = p.split("::", 1)
            found[p] = draws[other][name]
    return found


def reference_patients(study):
    """Baseline covariates of the patients: the average one, one who is 1.3 SD above it everywhere, and others at random; shape (patient,)."""
    rng, scales, columns = np.random.default_rng(5), dict(study.scales), {}
    for node in study.baselines:
        if (labels := labels_of(node)) is not None:
            columns[node.name] = np.r_[0, len(labels) - 1, rng.integers(len(labels), size=PATIENTS - 2)]
        else:
            columns[node.name] = scales[node.name].location + scales[node.name].sd * np.r_[0.0, 1.3, rng.standard_normal(PATIENTS - 2)]
    return columns


def decision_quantities(study, clusters, draws):
    """Contrasts, the value of the recommended regime, that of the best regime were the parameters known, and the difference.

    The recommended option has the largest mean expected utility over the draws given, the truth among them:
    if the posterior is right they are exchangeable, so the ranks are exactly uniform; settled by the posterior draws alone, the
    rule would favour these by an amount of the order of one over their number.

    Parameters
    ----------
    draws : ``{response: {parameter: [dataset, draw, ...]}}``, the truth first

    Returns
    -------
    dict of array, shape (dataset, draw)
    """
    walk = _Walk(study, clusters, draws)
    committed, clairvoyant = walk.value(0, reference_patients(study), "")
    value, best = committed.mean(axis=2), clairvoyant.mean(axis=2)
    return walk.contrasts | {"V(recommended)": value, "V(clairvoyant)": best, "expected regret": (clairvoyant - committed).mean(axis=2)}


class _Walk:
    """The recursion; `contrasts` fills up as decisions are met."""

    def __init__(self, study, clusters, draws):
        self.study, self.clusters, self.draws, self.contrasts = study, clusters, draws, {}
        self.size, self.count = next(iter(next(iter(draws.values())).values())).shape[:2]

    def value(self, position, columns, path):
        """Expected utility from here on under the recommended rule and under the best rule of each draw, each (dataset, draw, patient)."""
        if position == len(self.study.timeline):
            nothing = np.zeros((self.size, self.count, PATIENTS))
            return nothing, nothing
        node = self.study.timeline[position]
        if isinstance(node, Decision):
            return self._decide(position, node, columns, path)
        if isinstance(node, Response):
            return self._respond(position, node, columns, path)
        return self.value(position + 1, columns, path)

    def _decide(self, position, node, columns, path):
        feasible = self.study.feasible(node.name, columns or {"": np.zeros(PATIENTS)})
        committed, clairvoyant = [], []
        for code, label in enumerate(node.options):
            if not feasible[:, code].any():
                continue
            after = self.value(position + 1, columns | {node.name: np.full(PATIENTS, code)}, f"{path} {label}")
            for table, found in zip((committed, clairvoyant), after, strict=True):
                table.append(np.where(feasible[:, code], found, -np.inf))
            if len(committed) > 1:
                for row, who in ((0, "average"), (1, "other")):
                    if feasible[row, code] and np.isfinite(committed[0][0, 0, row]):
                        self.contrasts[f"{node.name}{path}: {label}, {who} patient"] = (committed[-1] - committed[0])[:, :, row]
        committed, clairvoyant = np.stack(committed), np.stack(clairvoyant)
        choice = committed.mean(axis=2).argmax(axis=0)[None, :, None, :]
        return np.take_along_axis(committed, choice, axis=0)[0], clairvoyant.max(axis=0)

    def _respond(self, position, node, columns, path):
        compiled = compile_response(self.study, node.name, self.clusters)
        weight, last = self.study.weight(node.name), position + 1 == len(self.study.timeline)
        if compiled.support is None:
            assert last, "a continuous response comes last"
            total = np.zeros((self.size, self.count, PATIENTS))
            if weight:
                total = weight * self._look(compiled, columns, "mean")
            for life, worth in self.study.lives(node.name):
                found = life.expected(node.name, np.zeros(PATIENTS))
                total = total + worth * found.factor * self._look(compiled, columns, found.what, found.extra)
            return total, total
        levels = compiled.support
        p = self._look(compiled, columns, "density", np.broadcast_to(np.array(levels, dtype=float), (PATIENTS, len(levels))))
        results = [0.0, 0.0]
        for k, level in enumerate(levels):
            now = columns | {node.name: np.full(PATIENTS, float(level))}
            earned = weight * level + self.study.earned(node.name, now)
            for i, later in enumerate(self.value(position + 1, now, f"{path} {level}")):
                results[i] = results[i] + p[..., k] * (earned + later)
        return tuple(results)

    def _look(self, compiled, columns, what, extra=None):
        cluster = np.full(PATIENTS, len(self.clusters)) if self.study.cluster else None
        inputs = make_inputs(compiled, {n: columns[n] for n in compiled.history}, cluster, dict(self.study.scales))
        flat = {n: v.reshape(self.size * self.count, *v.shape[2:]) for n, v in looked_up(compiled, self.draws).items()}
        found = evaluate(compiled, flat, inputs, what, extra)
        return found.reshape(self.size, self.count, *found.shape[1:])
