"""A further trial of the same study, simulated under every posterior draw and boiled down to what it tells about each response."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data import Trajectories
from ...inference import Posterior
from ...study.timeline import Decision, Response, finite_values
from ..basis import Basis, Ridge
from ..induction import BUDGET
from ..values import baseline_rows
from ..world import Rows, World

ENROLLED = 12
"""What uniform numbers are for."""
MOST_CELLS = 256
"""Distinct histories up to which each has a mean of its own; beyond, means are smooth functions of the history."""
REFERENCES = 500
"""Histories at which the draws' means are compared, where these are smooth functions."""
SEARCHED = 200_000
"""Simulated patients among whom the distinct histories are looked for; others tell nothing."""
MOST_SCORES = 12
LEAST_SHARE = 1e-5
"""Directions in which the draws' means vary: how many at most, and the least share of their variance that counts."""


@dataclass(frozen=True, eq=False)
class Enrolled:
    """A block of simulated trials: columns ``(draw, patient)``, clusters, and by response who came to it."""

    begin: int
    columns: Mapping[str, np.ndarray]
    cluster: np.ndarray | None
    came: Mapping[str, np.ndarray]


def allocation(posterior: Posterior, decision: Decision) -> tuple[np.ndarray, bool]:
    """Probability of every option under each of a decision's conditions ``(condition, option)``, and whether they are declared.

    Where nobody randomized, or a column holds the probabilities: the shares of the options among the patients of the fit.
    """
    t: Trajectories = posterior.trajectories
    made = np.flatnonzero(t.observed(decision.name))
    names = [n.name for n in posterior.study.before(decision.name)]
    stratum = np.zeros(made.size, dtype=int)
    if names and made.size:
        stratum = posterior.study.stratum(decision.name, t.history(names, made))
    table, declared = np.zeros((len(decision.choices), len(decision.options))), True
    for c, (_, options) in enumerate(decision.choices):
        codes = [decision.options.index(o) for o in options]
        given = decision.randomization(options)
        if given is None:
            declared = False
            seen = np.bincount(t.columns[decision.name][made[stratum == c]].astype(int), minlength=len(decision.options))[codes]
            share = seen / seen.sum() if seen.sum() else np.full(len(codes), 1 / len(codes))
        else:
            share = np.array([given[o] for o in options])
        if codes:
            table[c, codes] = share
    return table, declared


def enroll(posterior: Posterior, world: World, size: int, seed: int) -> Iterator[Enrolled]:
    """Simulate a trial of `size` patients under every draw, block by block; a smaller trial is the beginning of a larger one.

    Patients are drawn from the observed ones, options as :func:`allocation` has them, responses from their predictive distributions; everybody
    is followed to the end.
    """
    rows = baseline_rows(posterior)
    tables = {d.name: allocation(posterior, d)[0] for d in world.study.decisions}
    step = max(1, int(BUDGET // (8 * size * len(world.study.timeline))))
    for begin in range(0, world.size, step):
        block = world.block(begin, begin + step)
        shape = (block.size, size)

        def uniform(name: str, begin: int = begin, shape: tuple[int, int] = shape) -> np.ndarray:
            code = zlib.crc32(name.encode())
            return np.stack([np.random.default_rng([seed, ENROLLED, code, begin + b]).random(shape[1]) for b in range(shape[0])])

        patient = (uniform("") * rows.n).astype(int)
        columns = {n: v[patient] for n, v in rows.columns.items()}
        cluster = None if rows.cluster is None else rows.cluster[patient]
        going, came = np.ones(shape, dtype=bool), {}
        for node in world.study.timeline:
            if isinstance(node, Decision):
                flat = {n: v.ravel() for n, v in columns.items()}
                stratum = world.study.stratum(node.name, flat).reshape(shape) if flat else np.zeros(shape, dtype=int)
                p = tables[node.name][np.maximum(stratum, 0)]
                going = going & (p.sum(axis=-1) > 0)
                reached = np.cumsum(p, axis=-1)
                columns[node.name] = np.minimum((uniform(node.name)[..., None] * reached[..., -1:] >= reached).sum(axis=-1), p.shape[-1] - 1)
            elif isinstance(node, Response):
                came[node.name] = going
                columns[node.name] = block.simulate(node.name, columns, cluster, "random", uniform(node.name))
        yield Enrolled(begin, columns, cluster, came)


@dataclass(frozen=True, eq=False)
class Digest:
    """How a trial's outcomes of one response are boiled down: to linear Bayes estimates of the scores that tell the draws' means apart.

    Over the draws the mean of a response is ``f0(x) + L(x) z``, with uncorrelated scores ``z`` of variance 1 (principal components).
    Outcomes ``y`` with residual variance ``v(x)`` give the best linear estimate ``(I + sum L'L / v)^-1 sum L'(y - f0) / v`` of the scores. For
    Beta-Bernoulli and for Normal cells of known variance that is the posterior mean itself; otherwise regression on it makes up for curvature.

    Attributes
    ----------
    response : str
    names : tuple of str
        What the response's model looks at.
    basis : Basis or None
        None where every distinct history has a mean of its own.
    cells : array, shape (cell, name)
        Those histories.
    outputs : tuple of float
        Codes of labelled outcomes whose indicators are looked at; empty for the outcome itself.
    log : bool
        Whether its logarithm is looked at.
    tables : array, shape (term, 2 + score, output)
        Mean, log residual variance and loadings by cell or by term of the basis.
    """

    response: str
    names: tuple[str, ...]
    basis: Basis | None
    cells: np.ndarray
    outputs: tuple[float, ...]
    log: bool
    tables: np.ndarray

    @classmethod
    def of(cls, world: World, response: str, trial: Enrolled) -> "Digest | None":
        """Choose scores by the histories of some simulated trials; None where the draws do not differ."""
        compiled = world.compiled[response]
        before = [n for n in world.study.before(response)]
        names = tuple(n.name for n in before if n.name in compiled.uses)
        come = np.flatnonzero(trial.came[response].ravel())
        if not come.size or not compiled.parameters:
            return None
        columns = {n: v.ravel()[come] for n, v in trial.columns.items()}
        cluster = None if trial.cluster is None else trial.cluster.ravel()[come]
        cells, first = np.empty((0, 1)), np.empty(0, dtype=int)
        if all(finite_values(world.study[n]) is not None for n in names):
            cells, first = np.unique(_keys(columns, names, cluster)[:SEARCHED], axis=0, return_index=True)
        plain = 0 < len(cells) <= MOST_CELLS
        some = first if plain else np.linspace(0, len(come) - 1, min(REFERENCES, len(come))).astype(int)
        at = Rows({n.name: columns[n.name][some] for n in before}, None if cluster is None else cluster[some], len(some))
        outputs, log, mean, variance = _means(world, response, at)
        score = _scores(mean, variance)
        if score is None:
            return None
        tables = np.concatenate([mean.mean(axis=0)[:, None], np.log(np.maximum(variance, 1e-12))[:, None], score], axis=1)
        if plain:
            return cls(response, names, None, cells, outputs, log, tables)
        clusters = 0 if cluster is None else int(cluster.max()) + 1
        basis = Basis.of(world.study, response, columns | {n.name: columns[n.name] for n in before}, len(some), clusters)
        fitted, _ = Ridge.of(basis.matrix(at.columns, at.cluster, at.n)).fit(tables.reshape(len(some), -1))
        return cls(response, names, basis, cells[:0], outputs, log, fitted.reshape(-1, *tables.shape[1:]))

    def information(self, trial: Enrolled, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """Precision ``(draw, score, score)`` and right-hand side ``(draw, score)`` that some patients of a block of trials add."""
        y = trial.columns[self.response][:, part]
        flat = {n: v[:, part].ravel() for n, v in trial.columns.items()}
        cluster = None if trial.cluster is None else trial.cluster[:, part].ravel()
        known = trial.came[self.response][:, part].ravel().astype(float)
        if self.basis is None:
            place, found = _place(self.cells, _keys(flat, self.names, cluster))
            at, known = self.tables[place], known * found
        else:
            at = np.einsum("rt,tso->rso", self.basis.matrix(flat, cluster, y.size), self.tables)
        seen = np.log(np.maximum(y, 1e-300)) if self.log else y
        out = np.stack([seen.ravel() == code for code in self.outputs], axis=1) if self.outputs else seen.reshape(-1, 1)
        weight = known[:, None] * np.exp(-at[:, 1])
        loading = at[:, 2:].reshape(*y.shape, -1, at.shape[2])
        weight, error = weight.reshape(*y.shape, -1), (out - at[:, 0]).reshape(*y.shape, -1)
        scaled = loading * weight[:, :, None]
        return np.einsum("biso,bito->bst", scaled, loading, optimize=True), np.einsum("biso,bio->bs", scaled, error)


def _keys(columns: Mapping[str, np.ndarray], names: Sequence[str], cluster: np.ndarray | None) -> np.ndarray:
    """Histories as rows of numbers."""
    parts = [np.asarray(columns[n], dtype=float) for n in names] + ([] if cluster is None else [cluster.astype(float)])
    size = len(next(iter(columns.values())))
    return np.stack(parts, axis=1) if parts else np.zeros((size, 1))


def _place(cells: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell of each key, and whether it is among the cells."""
    levels = [np.unique(column) for column in cells.T]
    shape = tuple(len(v) for v in levels)

    def codes(rows: np.ndarray) -> tuple[Any, np.ndarray]:
        places = [np.minimum(np.searchsorted(v, column), len(v) - 1) for v, column in zip(levels, rows.T, strict=True)]
        exact = np.all([v[at] == column for v, at, column in zip(levels, places, rows.T, strict=True)], axis=0)
        return np.ravel_multi_index(places, shape), exact

    table = np.full(int(np.prod(shape)), -1)
    table[codes(cells)[0]] = np.arange(len(cells))
    code, exact = codes(keys)
    return np.maximum(table[code], 0), exact & (table[code] >= 0)


def _means(world: World, response: str, rows: Rows) -> tuple[tuple[float, ...], bool, np.ndarray, np.ndarray]:
    """What is looked at of a response: codes, whether its logarithm, each draw's mean ``(draw, row, output)``, variance ``(row, output)``."""
    compiled = world.compiled[response]
    if compiled.support is not None and len(compiled.support) > 2:
        codes = tuple(float(c) for c in compiled.support[1:])
        p = world.look(response, rows, "density", np.broadcast_to(np.array(codes), (rows.n, len(codes))))
        return codes, False, p, (p * (1 - p)).mean(axis=0)
    if compiled.support is not None or not compiled.cells:
        moments = world.look(response, rows, "moments")
        return (), False, moments[..., :1], (moments[..., 1:] ** 2).mean(axis=0)
    levels = np.broadcast_to(np.array([0.16, 0.5, 0.84]), (rows.n, 3))  # a median and a spread that exist whatever the tails
    q = world.look(response, rows, "quantiles", levels)
    log = bool((q > 0).all())
    q = np.log(q) if log else q
    return (), log, q[..., 1:2], (((q[..., 2:] - q[..., :1]) / 2) ** 2).mean(axis=0)


def _scores(mean: np.ndarray, variance: np.ndarray) -> np.ndarray | None:
    """Loadings ``(row, score, output)`` of uncorrelated scores of variance 1 that tell the draws' means ``(draw, row, output)`` apart."""
    sd = np.sqrt(np.maximum(variance, 1e-12)).ravel()
    scaled = (mean - mean.mean(axis=0)).reshape(len(mean), -1) / sd
    power, axes = np.linalg.eigh(scaled.T @ scaled / len(mean))
    kept = np.flatnonzero(power > LEAST_SHARE * power.sum())[::-1][:MOST_SCORES]
    if not kept.size or power.sum() <= 1e-20:
        return None
    loading = (axes[:, kept] * np.sqrt(power[kept])) * sd[:, None]
    return loading.reshape(*variance.shape, -1).transpose(0, 2, 1)


def digests(posterior: Posterior, world: World, sizes: Sequence[int], seed: int) -> dict[str, np.ndarray]:
    """By response, what a trial of each size would tell: estimated scores ``(size, draw, score)``.

    Parameters
    ----------
    posterior : Posterior
    world : World
        On the draws wanted.
    sizes : sequence of int
        Increasing.
    seed : int
    """
    names = [r.name for r in world.study.responses]
    made: dict[str, Digest | None] = {}
    found: dict[str, np.ndarray] = {}
    for trial in enroll(posterior, world, sizes[-1], seed):
        for name in names:
            if name not in made:
                made[name] = Digest.of(world, name, trial)
            digest = made[name]
            if digest is None:
                continue
            count = digest.tables.shape[1] - 2
            here = slice(trial.begin, trial.begin + len(trial.came[name]))
            found.setdefault(name, np.zeros((len(sizes), world.size, count)))
            precision, right = np.eye(count), np.zeros(count)
            for k, (first, last) in enumerate(zip((0, *sizes[:-1]), sizes, strict=True)):
                if last > first:
                    more, rhs = digest.information(trial, slice(first, last))
                    precision, right = precision + more, right + rhs
                    found[name][k, here] = np.linalg.solve(precision, right[..., None])[..., 0]
    return found
