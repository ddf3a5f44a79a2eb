"""Values of options and regimes under each draw of a posterior, for one trial's patients: made to be traced and mapped over trials.

The tree of later histories is grown at trace time. Discrete responses branch, decisions branch into their feasible options, and the rows of
patients and paths meet each response's linear predictors in one product with the draws. A Normal response that something later depends on is
integrated per draw by Gauss-Hermite nodes, between the thresholds that later conditions name by Gauss-Legendre ones. No posterior average is
taken: a draw goes on by its own optimum, or by an embedded regime, whose later options do not depend on the draw.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...decision.world import World, looked_at
from ...errors import TrialError, listing
from ...model import CompiledResponse
from ...study import Study
from ...study.conditions import Condition, Equals, OneOf
from ...study.rules import Rules
from ...study.timeline import code_of, finite_values
from .laws import Draws, Laws, Nudges, Paths

NODES = 16
"""Gauss-Hermite nodes over a Normal response."""
PANEL = 12
"""Gauss-Legendre nodes in each panel between thresholds of a Normal response."""
SLICED = 32
"""Columns up to which they are picked slice by slice."""
REACH = 7.0
"""SDs to either side that panels cover."""
RISING = frozenset({"bernoulli", "beta_binomial", "normal", "t", "lognormal", "poisson", "negative_binomial"})
"""Distributions whose mean rises with their one linear predictor, whatever their other parameters are."""


class Tree:
    """The tree of a study with its models.

    Parameters
    ----------
    study : Study
    compiled : mapping of str to CompiledResponse
    regimes : sequence of Rules
        Embedded regimes to be valued.

    Raises
    ------
    TrialError
        For a utility or a response that the tree cannot carry.
    """

    def __init__(self, study: Study, compiled: Mapping[str, CompiledResponse], regimes: Sequence[Rules]):
        self.study, self.compiled, self.regimes = study, dict(compiled), tuple(regimes)
        scales = dict(study.scales)
        world = World(study, self.compiled, scales, {}, 0, looked_at(regimes))
        self.scales = scales
        self.matters = {r.name: world.matters(r.name) for r in study.responses}
        self.cuts = {r.name: world.cuts(r.name) for r in study.responses}
        self._check()

    def _check(self) -> None:
        if self.study.utility.attitude is not None or self.study.utility.times:
            raise TrialError("Looks at a trial value sums of weighted responses, tables and costs; attitudes to risk and utilities of times are "
                             "for the analysis of its data.")
        for name, c in self.compiled.items():
            if self.matters[name] and c.support is None and c.distribution != "normal":
                raise TrialError(f"Response {name!r}: later decisions or responses depend on it, and inside simulations only discrete and Normal "
                                 f"responses can be carried forward; its distribution is {c.distribution!r}.")

    # ---- what is asked ---------------------------------------------------------------------------

    def options(
        self, decision: int, draws: Draws, columns: Mapping[str, jax.Array], cluster: jax.Array | None, nudges: Nudges | None = None
    ) -> jax.Array:
        """Value of every option for some patients ``(patient,)`` of one trial, ``[patient, option, draw]``, later decisions each draw's best."""
        return _Walk(self, draws, cluster, None, nudges).root(decision, columns)[0]

    def ranked(self, decision: int) -> str | None:
        """The response whose one linear predictor puts a decision's options in order, since nothing else follows or is paid; None where none does."""
        responses, study = self.study.after(self.study.decisions[decision].name), self.study
        if decision + 1 < len(study.decisions) or len(responses) != 1:
            return None
        name = responses[0].name
        linear, kind = self.compiled[name].linear, self.compiled[name].distribution
        alone = study.weight(name) != 0 and not study.pays(name) and study.charges(name) is None
        return name if alone and kind in RISING and linear is not None and linear.parts == 1 and linear.affine and linear.predicts else None

    def predictors(
        self, decision: int, draws: Draws, columns: Mapping[str, jax.Array], cluster: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """What a ranked decision's options are put in order by: offsets ``[patient, option]`` and slopes ``[patient, option, coefficient]``.

        The linear predictor of the response, turned round where little of that is better.
        """
        walk, name = _Walk(self, draws, cluster, None, None), self.ranked(decision)
        assert name is not None
        offset, slopes = walk.laws.predictors(name, walk.start(decision, columns), walk.patients)
        sign = np.sign(self.study.weight(name))
        return sign * offset[:, :, 0], sign * slopes[:, :, 0]

    def values(
        self, draws: Draws, columns: Mapping[str, jax.Array], cluster: jax.Array | None, weight: jax.Array, nudges: Nudges | None = None
    ) -> jax.Array:
        """Value of every regime ``[regime, draw]`` averaged over patients by their weights ``(patient,)``."""
        found = _Walk(self, draws, cluster, self.regimes, nudges).root(0, columns)
        first = self.study.decisions[0]
        table = {n: v[:, None, None] for n, v in columns.items()}
        out, done = [], {}
        for rules, values in zip(self.regimes, found, strict=True):  # [patient, option, draw]
            chosen = _chosen(self.study, rules, first.name, table)
            if isinstance(chosen, np.ndarray):
                key = id(values), int(chosen.ravel()[0])
                if key not in done:
                    done[key] = values, jnp.einsum("m,mb->b", weight, values[:, key[1]])
                out.append(done[key][1])
            else:
                mine = jnp.take_along_axis(values, jnp.broadcast_to(jnp.maximum(chosen, 0), (len(values), 1, values.shape[2])), axis=1)[:, 0]
                out.append(jnp.einsum("m,mb->b", weight, mine))
        return jnp.stack(out)


def feasible_at(study: Study, decision: str, columns: Mapping[str, Any]) -> Any:
    """Feasible options along rows, broadcastable to ``(patient, path, draw, option)``; NumPy where no patient's own column decides."""
    node = study._decision(decision)
    total: Any = False
    for condition, options in node.choices:
        met = _met(study, condition, columns)
        allowed = np.array([o in options for o in node.options])
        total = total | (met[..., None] & allowed)
    return total


def _met(study: Study, condition: Condition, columns: Mapping[str, Any]) -> Any:
    met: Any = np.ones((1, 1, 1), dtype=bool)
    for name, test in condition.tests:
        column = columns[name]
        if isinstance(test, Equals):
            met = met & (column == study.code(name, test.value))
        elif isinstance(test, OneOf):
            inside: Any = False
            for value in test.values:
                inside = inside | (column == study.code(name, value))
            met = met & inside
        else:
            if test.low is not None:
                met = met & (column >= test.low)
            if test.high is not None:
                met = met & (column < test.high)
    return met


def _chosen(study: Study, rules: Rules, decision: str, columns: Mapping[str, Any]) -> Any:
    """Codes of the options an embedded regime takes, broadcastable to rows; NumPy where no patient's own column decides."""
    feasible = feasible_at(study, decision, columns)
    chosen: Any = np.full((1, 1, 1), -1)
    where = lambda c, a, b: np.where(c, a, b) if all(isinstance(x, (np.ndarray, int)) for x in (c, a, b)) else jnp.where(c, a, b)  # noqa: E731
    for condition, option in reversed(dict(rules.decisions).get(decision, ())):
        chosen = where(_met(study, condition, columns), int(study.code(decision, option)), chosen)  # type: ignore[arg-type]
    count = feasible.sum(axis=-1)
    return where(count == 1, feasible.argmax(axis=-1), where(count == 0, -1, chosen))


class _Walk:
    """One walk over the tree at trace time. Values are lists, one entry for each regime, or one for the clairvoyant."""

    def __init__(self, tree: Tree, draws: Draws, cluster: jax.Array | None, regimes: tuple[Rules, ...] | None, nudges: Nudges | None):
        self.tree, self.study, self.regimes = tree, tree.study, regimes
        self.laws = Laws(tree.compiled, tree.scales, draws, cluster, nudges)
        self.size = self.laws.size

    def root(self, decision: int, columns: Mapping[str, jax.Array]) -> list[jax.Array]:
        """Values of a decision's options, ``[patient, option, draw]``."""
        paths = self.start(decision, columns)
        return _broadcast(self.responses(decision, 0, paths), (self.patients, paths.count, self.size))

    def start(self, decision: int, columns: Mapping[str, jax.Array]) -> Paths:
        """Rows of patients along a decision's options."""
        node, cluster = self.study.decisions[decision], self.laws.cluster
        count = len(node.options)
        self.patients = len(cluster) if cluster is not None else len(next(iter(columns.values()))) if columns else 1
        return Paths({n: v[:, None, None] for n, v in columns.items()}, count).put(node.name, np.arange(count)[None, :, None])

    def responses(self, stage: int, index: int, paths: Paths) -> list[Any]:
        """Values of what follows a stage's response number `index`, each ``[patient, path, draw]``, or 0."""
        study = self.study
        responses = study.after(study.decisions[stage].name)
        if index == len(responses):
            if stage + 1 < len(study.decisions):
                return self.decision(stage + 1, paths)
            return [0.0] * (1 if self.regimes is None else len(self.regimes))
        name = responses[index].name
        weight, charge = study.weight(name), study.charged(name, paths.columns)
        if not self.tree.matters[name]:
            after = self.responses(stage, index + 1, paths.put(name, np.zeros((1, paths.count, 1))))
            mean = (weight * self.laws.moments(name, paths, self.patients)[0] if weight else 0.0) + charge
            return _each_once(after, lambda a: mean + a)
        p, at, spread = self.spread(name, paths)
        gain = weight * at + (_earned(study, name, spread.columns) if study.pays(name) else 0.0)
        shape = (self.patients, paths.count, spread.count // paths.count, self.size)

        def worth(a: Any) -> jax.Array:
            return jnp.sum(p * jnp.broadcast_to(gain + a, (self.patients, spread.count, self.size)).reshape(shape), axis=2) + charge

        return _each_once(self.responses(stage, index + 1, spread), worth)

    def spread(self, name: str, paths: Paths) -> tuple[jax.Array, Any, Paths]:
        """A response's points: probabilities ``[patient, path, point, draw]``, values along the spread paths, and these."""
        support = self.tree.compiled[name].support
        if support is not None:
            values = np.tile(np.array(support, dtype=float), paths.count)[None, :, None]
            spread = paths.take(np.repeat(np.arange(paths.count), len(support))).put(name, values)
            return self.laws.probabilities(name, paths, self.patients), values, spread
        mean, sd = self.laws.moments(name, paths, self.patients)
        if cuts := self.tree.cuts[name]:
            z, w = _panels([jnp.clip((c - mean) / sd, -REACH, REACH) for c in cuts])
        else:
            x, weights = np.polynomial.hermite_e.hermegauss(NODES)
            z, w = jnp.asarray(x)[:, None], jnp.broadcast_to(jnp.asarray(weights / weights.sum())[:, None], (*mean.shape[:2], NODES, self.size))
        at = (mean[:, :, None] + sd[:, :, None] * z).reshape(self.patients, -1, self.size)
        return w, at, paths.take(np.repeat(np.arange(paths.count), w.shape[2])).put(name, at, drawn=True)

    def decision(self, stage: int, paths: Paths) -> list[Any]:
        """Values at a decision, chosen as each entry goes on."""
        node = self.study.decisions[stage]
        feasible = feasible_at(self.study, node.name, paths.columns)
        if isinstance(feasible, np.ndarray):
            table = np.broadcast_to(feasible, (1, paths.count, 1, len(node.options)))[0, :, 0]
        else:
            table = np.broadcast_to([any(o in s for s in node.sets) for o in node.options], (paths.count, len(node.options)))
        row, option = np.nonzero(table)
        if not len(row):
            return [0.0] * (1 if self.regimes is None else len(self.regimes))
        pair = np.zeros(table.shape, dtype=int)
        pair[row, option] = np.arange(len(row))
        after = _broadcast(self.responses(stage, 0, paths.take(row).put(node.name, option[None, :, None])), (self.patients, len(row), self.size))
        if self.regimes is None:
            return [_largest(after[0], feasible, pair)]
        found, done = [], {}
        for rules, a in zip(self.regimes, after, strict=True):
            chosen = _chosen(self.study, rules, node.name, paths.columns)
            known = (chosen.tobytes(), id(a)) if isinstance(chosen, np.ndarray) else (id(rules), id(a))
            if known not in done:
                done[known] = a, _taken(a, chosen, pair, paths.count)
            found.append(done[known][1])
        return found


def _broadcast(values: list[Any], shape: tuple[int, ...]) -> list[jax.Array]:
    return _each_once(values, lambda v: jnp.broadcast_to(v, shape))


def _each_once(values: list[Any], function: Any) -> list[Any]:
    """A function of every entry, worked out once for entries that are the same object."""
    done: dict[int, Any] = {}
    for v in values:
        if id(v) not in done:
            done[id(v)] = function(v)
    return [done[id(v)] for v in values]


def _largest(values: jax.Array, feasible: Any, pair: np.ndarray) -> jax.Array:
    """Largest value ``[patient, path, draw]`` among the feasible options, given those of pairs ``[patient, pair, draw]``; 0 where there is none."""
    if isinstance(feasible, np.ndarray) and len(pair) <= SLICED:
        table, none = np.broadcast_to(feasible, (1, len(pair), 1, pair.shape[1]))[0, :, 0], jnp.zeros((values.shape[0], values.shape[2]))
        ahead = [[values[:, pair[i, o]] for o in np.flatnonzero(row)] for i, row in enumerate(table)]
        return jnp.stack([functools.reduce(jnp.maximum, options) if options else none for options in ahead], axis=1)
    best: Any = None
    for o in range(pair.shape[1]):
        mine, possible = values[:, pair[:, o]], feasible[..., o]
        if not (isinstance(possible, np.ndarray) and possible.all()):
            mine = jnp.where(possible, mine, -jnp.inf)
        best = mine if best is None else jnp.maximum(best, mine)
    some = feasible.any(axis=-1)
    return best if isinstance(some, np.ndarray) and some.all() else jnp.where(some, best, 0.0)


def _picked(values: jax.Array, index: np.ndarray) -> jax.Array:
    """Some columns of values ``[patient, column, draw]``; as slices where they are few, which go faster than a gather."""
    if len(index) > SLICED:
        return values[:, index]
    return jnp.stack([values[:, i] for i in index], axis=1)


def _taken(values: jax.Array, chosen: Any, pair: np.ndarray, paths: int) -> jax.Array:
    """Values ``[patient, path, draw]`` of the pairs of paths and options that are chosen; 0 where none is."""
    if isinstance(chosen, np.ndarray):
        code = np.broadcast_to(chosen, (1, paths, 1))[0, :, 0]
        found = _picked(values, pair[np.arange(paths), np.maximum(code, 0)])
        return found if (code >= 0).all() else jnp.where(code[:, None] >= 0, found, 0.0)
    code = jnp.broadcast_to(chosen, (values.shape[0], paths, values.shape[2]))
    index = jnp.asarray(pair)[jnp.arange(paths)[:, None], jnp.maximum(code, 0)]
    return jnp.where(code >= 0, jnp.take_along_axis(values, index, axis=1), 0.0)


def _earned(study: Study, response: str, columns: Mapping[str, Any]) -> Any:
    """What tables pay when a response becomes known, along rows."""
    total: Any = 0.0
    for table in study.tables_of(response):
        for values, number in table.rows:
            met: Any = True
            for name, value in zip(table.names, values, strict=True):
                met = met & (columns[name] == code_of(study[name], value))
            total = total + number * met
    return total * study.utility.discount ** (study.stage(response) - 1)


def _panels(cuts: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Nodes and weights ``(patient, path, node, draw)`` of a standard Normal law between ascending cuts ``(patient, path, draw)``."""
    x, w = np.polynomial.legendre.leggauss(PANEL)
    edges = [jnp.full_like(cuts[0], -REACH), *cuts, jnp.full_like(cuts[0], REACH)]
    nodes, weights = [], []
    for low, high in itertools.pairwise(edges):
        middle = low[:, :, None] + (high - low)[:, :, None] * (jnp.asarray(x)[:, None] + 1) / 2
        nodes.append(middle)
        weights.append((high - low)[:, :, None] * jnp.asarray(w)[:, None] / 2 * jnp.exp(-0.5 * middle**2))
    z, p = jnp.concatenate(nodes, axis=2), jnp.concatenate(weights, axis=2)
    return z, p / jnp.sum(p, axis=2, keepdims=True)


def check_study(study: Study) -> None:
    """Raise `TrialError` where a study cannot be analysed at looks by draws: scales not declared, covariates missing, effects shared."""
    declared = dict(study.scales)
    lacking = [n.name for n in study.timeline if finite_values(n) is None and (n.name not in declared or declared[n.name].location is None)]
    if lacking:
        raise TrialError(f"Simulated looks need declared scales, so that priors are the same at every look: {listing(lacking)} has none with a "
                         f"location; for example scales={{{lacking[0]!r}: (0.0, 1.0)}}.")
    if study.shared:
        raise TrialError(f"Looks take one response at a time, and {listing(study.shared)} share patients' effects or stages.")
    if absent := [b.name for b in study.baselines if b.missing]:
        raise TrialError(f"Simulated looks take complete covariates; {listing(absent)} may be missing.")
