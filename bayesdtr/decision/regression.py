"""Regression Monte Carlo: backward induction where the tree of histories would be too large.

At every decision before the last, histories are simulated under an exploration policy; for every
draw the utility to come is simulated once per history and option and regressed on a basis, all
draws against the same basis, so that one factorisation serves all right-hand sides. The average of
the fitted functions over draws defines the committed rule. Fitted functions order options; the
value of the resulting rule comes from fresh rollouts (`rollout.py`), never from the fit.
(Longstaff and Schwartz 2001; regression over pooled draws as in methods of least-squares Monte Carlo.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..study.study import Study
from ..study.timeline import Decision, Response, finite_values
from .rollout import luck
from .world import Rows, World

SIMULATIONS = 400_000
"""Simulated transitions per option and stage, over all draws."""
MOST_DRAWS = 400
KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Basis:
    """Functions of a history that values are regressed on.

    Attributes
    ----------
    numeric : tuple of (name, location, SD, knots)
        Each gives a linear term and a hinge at each knot.
    labels : tuple of (name, code)
        Indicators of options, levels and 0/1 values, the first of each left out.
    pairs : bool
        Whether products of two terms (without hinges) are included.
    hinges : bool
        Whether products of a hinge and a term are.
    """

    numeric: tuple[tuple[str, float, float, tuple[float, ...]], ...]
    labels: tuple[tuple[str, float], ...]
    pairs: bool
    hinges: bool

    @classmethod
    def of(cls, study: Study, decision: str, columns: Mapping[str, np.ndarray]) -> "Basis":
        """Choose knots from simulated histories before a decision; columns ``(n,)``."""
        numeric, labels = [], []
        for node in study.before(decision):
            column = columns[node.name]
            finite = finite_values(node)
            if finite is None and np.ptp(column) > 0:
                sd = float(column.std())
                scaled = (column - column.mean()) / sd
                numeric.append((node.name, float(column.mean()), sd, tuple(float(k) for k in np.quantile(scaled, KNOTS))))
            elif finite is not None:
                codes = [study.code(node.name, v) for v in finite]
                labels += [(node.name, c) for c in codes[1:] if (column == c).any()]
        count, room = len(numeric) + len(labels), len(next(iter(columns.values()))) // 8
        pairs = count * (count - 1) // 2 <= room
        return cls(tuple(numeric), tuple(labels), pairs, pairs and sum(len(k[1::2]) for *_, k in numeric) * count <= room)

    def matrix(self, columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """Values of the basis, shape (n, term)."""
        plain = [(columns[name] - location) / sd for name, location, sd, _ in self.numeric]
        plain += [(columns[name] == code).astype(float) for name, code in self.labels]
        terms = [np.ones(n), *plain]
        for (_, _, _, knots), z in zip(self.numeric, plain, strict=False):
            terms += [np.maximum(z - k, 0.0) for k in knots]
        if self.pairs:
            terms += [plain[i] * plain[j] for i in range(len(plain)) for j in range(i)]
        if self.hinges:  # A hinge of one variable by another variable: lets a kink move with the history.
            hinges = [np.maximum(plain[i] - k, 0.0) for i, (_, _, _, knots) in enumerate(self.numeric) for k in knots[1::2]]
            terms += [h * p for h in hinges for p in plain]
        return np.stack(terms, axis=1)


def ridge(design: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Ridge regression of many targets on one design, penalty by generalised cross-validation.

    Parameters
    ----------
    design : array, shape (n, term)
    targets : array, shape (n, target)

    Returns
    -------
    array, shape (term, target)
    """
    u, s, vt = np.linalg.svd(design, full_matrices=False)
    projected = u.T @ targets
    n, total = len(design), (targets**2).sum()
    best, chosen = np.inf, 0.0
    for penalty in s[0] ** 2 * np.logspace(-12, -1, 23):
        shrink = s**2 / (s**2 + penalty)
        residual = total - ((2 * shrink - shrink**2)[:, None] * projected**2).sum()
        score = residual / max(n - shrink.sum(), 1.0) ** 2
        if score < best:
            best, chosen = score, penalty
    return vt.T @ ((s / (s**2 + chosen))[:, None] * projected)


@dataclass(frozen=True)
class StageFit:
    """Fitted values of one decision's options.

    Attributes
    ----------
    basis : Basis
    committed, clairvoyant : array, shape (option, term, draw)
        Coefficients under each draw; later decisions made by the committed rule, or by each draw's own optimum.
    """

    basis: Basis
    committed: np.ndarray
    clairvoyant: np.ndarray

    def tables(self, study: Study, decision: str, columns: Mapping[str, np.ndarray], n: int) -> tuple[np.ndarray, np.ndarray]:
        """Per-draw values of every option, committed and clairvoyant, shape (draw, row, option), ``-inf`` where infeasible."""
        phi = self.basis.matrix(columns, n)
        feasible = _feasible(study, decision, columns, n)
        return tuple(np.where(feasible, np.einsum("np,apb->bna", phi, c, optimize=True), -np.inf) for c in (self.committed, self.clairvoyant))

    def qbar(self, study: Study, decision: str, columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """Posterior-expected committed values, shape (row, option), ``-inf`` where infeasible."""
        phi = self.basis.matrix(columns, n)
        return np.where(_feasible(study, decision, columns, n), phi @ self.committed.mean(axis=2).T, -np.inf)


def _feasible(study: Study, decision: str, columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    node = study[decision]
    assert isinstance(node, Decision)
    return study.feasible(decision, columns) if columns else np.ones((n, len(node.options)), dtype=bool)


def explore(world: World, rows: Rows, size: int, seed: int) -> dict[str, np.ndarray]:
    """Histories under options chosen at random among the feasible, one draw per patient; columns ``(size,)``.

    `size` must be a multiple of the number of draws.
    """
    rng = np.random.default_rng([seed, 4])
    patient = rng.integers(rows.n, size=size)
    columns = {n: v[patient] for n, v in rows.columns.items()}
    cluster = None if rows.cluster is None else rows.cluster[patient]
    grid = np.arange(size).reshape(-1, world.size).T
    for node in world.study.timeline:
        if isinstance(node, Decision):
            feasible = _feasible(world.study, node.name, columns, size)
            columns[node.name] = np.where(feasible, rng.random(feasible.shape), -1).argmax(axis=1)
        elif isinstance(node, Response):
            seen = {n: v[grid] for n, v in columns.items()}
            out = world.simulate(node.name, seen, None if cluster is None else cluster[grid], "sample", rng.random(grid.shape))
            column = np.empty(size)
            column[grid] = out
            columns[node.name] = column
    columns["::cluster"] = cluster if cluster is not None else np.zeros(size, dtype=int)
    return columns


def _forward(world: World, stage: int, columns: dict[str, np.ndarray], cluster: np.ndarray | None, seed: int) -> np.ndarray:
    """Simulate a stage's responses in place, columns ``(draw, row)``; return the expected utility earned in it."""
    earned = np.zeros(next(iter(columns.values())).shape)
    for response in world.study.after(world.study.decisions[stage].name):
        weight = world.study.weight(response.name)
        if weight:
            earned += weight * world.simulate(response.name, columns, cluster, "mean")
        if world.matters(response.name):
            columns[response.name] = world.simulate(response.name, columns, cluster, "sample", luck(seed + 1, response.name, earned.shape))
        else:
            columns[response.name] = np.zeros(earned.shape)
    return earned


def fit_stages(world: World, rows: Rows, seed: int) -> dict[str, StageFit]:
    """Regression Monte Carlo backwards over all decisions.

    Parameters
    ----------
    world : World
        Thinned to at most MOST_DRAWS draws.
    rows : Rows
        Baseline columns of the observed patients.
    seed : int

    Returns
    -------
    dict of str to StageFit
        For every decision.
    """
    size = -(-int(np.clip(SIMULATIONS // world.size, 1000, 20_000)) // world.size) * world.size
    simulated = explore(world, rows, size, seed)
    cluster = simulated.pop("::cluster") if rows.cluster is not None else simulated.pop("::cluster") * 0
    fits: dict[str, StageFit] = {}
    for stage in reversed(range(len(world.study.decisions))):
        decision = world.study.decisions[stage]
        known = [n.name for n in world.study.before(decision.name)]
        columns = {n: simulated[n] for n in known}
        basis = Basis.of(world.study, decision.name, columns) if known else Basis((), (), False, False)
        phi = basis.matrix(columns, size)
        feasible = _feasible(world.study, decision.name, columns, size)
        both = np.zeros((2, len(decision.options), phi.shape[1], world.size))
        for option in range(len(decision.options)):
            where = np.flatnonzero(feasible[:, option])
            if where.size:
                index = np.broadcast_to(where, (world.size, where.size))
                state = {n: v[index] for n, v in columns.items()} | {decision.name: np.full(index.shape, option)}
                group = cluster[index] if rows.cluster is not None else None
                earned = _forward(world, stage, state, group, seed)
                after = _after(world, stage, state, fits)
                for kind in range(2):
                    both[kind, option] = ridge(phi[where], (earned + after[kind]).T)
        fits[decision.name] = StageFit(basis, both[0], both[1])
    return fits


def _after(world: World, stage: int, state: dict[str, np.ndarray], fits: dict[str, StageFit]) -> tuple[np.ndarray, np.ndarray]:
    """Value of the next decision at simulated histories ``(draw, row)``: committed, and best of each draw."""
    shape = next(iter(state.values())).shape
    if stage + 1 == len(world.study.decisions):
        return np.zeros(shape), np.zeros(shape)
    name = world.study.decisions[stage + 1].name
    fit = fits[name]
    committed, clairvoyant = np.empty(shape), np.empty(shape)
    for b in range(shape[0]):
        columns = {n: v[b] for n, v in state.items()}
        phi = fit.basis.matrix(columns, shape[1])
        feasible = _feasible(world.study, name, columns, shape[1])
        choice = np.where(feasible, phi @ fit.committed.mean(axis=2).T, -np.inf).argmax(axis=1)
        committed[b] = (phi @ fit.committed[:, :, b].T)[np.arange(shape[1]), choice]
        clairvoyant[b] = np.where(feasible, phi @ fit.clairvoyant[:, :, b].T, -np.inf).max(axis=1)
    return committed, clairvoyant
