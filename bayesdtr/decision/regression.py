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

from ..errors import DecisionError
from ..study.study import Study
from ..study.timeline import Decision, Response
from .basis import Basis, Ridge
from .induction import clairvoyant, committed, leaves, solve
from .limits.safety import left_at
from .rollout import FITTING, check_simulable, luck
from .world import Rows, World

SIMULATIONS = 400_000
"""Simulated transitions per option and stage, over all draws."""
MOST_DRAWS = 400
FEW, PER_TERM = 400, 6
"""Simulated histories at which values without noise are worked out, at least, and for each term of the basis."""
WORKED_OUT = 1e9
"""Evaluations of a model up to which values at simulated histories are worked out on the tree instead of simulated."""
EXPLORED = "::cluster"
"""Under this name explored histories carry their clusters."""


@dataclass(frozen=True)
class StageFit:
    """Fitted values of one decision's options.

    Attributes
    ----------
    basis : Basis
    committed, clairvoyant : array, shape (option, term, draw)
        Coefficients under each draw; later decisions made by the committed rule, or by each draw's own optimum.
    misfit : array, shape (option,)
        SD of what the basis misses of the committed values averaged over draws, by left-out residuals beyond the noise of simulation.
    roots : array, shape (option, term, term)
        Roots of the averaged coefficients' covariance by simulation.
    """

    basis: Basis
    committed: np.ndarray
    clairvoyant: np.ndarray
    misfit: np.ndarray
    roots: np.ndarray

    def error(self, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None, n: int) -> np.ndarray:
        """Standard error of the fitted posterior-expected committed values, shape (row, option): misfit and simulation."""
        phi = self.basis.matrix(columns, cluster, n)
        return np.sqrt(self.misfit**2 + np.stack([((phi @ root) ** 2).sum(axis=1) for root in self.roots], axis=1))

    def tables(
        self, world: World, decision: str, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None, n: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Posterior-expected committed values of every option ``(row, option)``, and per draw, committed and clairvoyant, ``(draw, row, option)``.

        ``-inf`` where infeasible, or removed by a gate of the world's.
        """
        phi = self.basis.matrix(columns, cluster, n)
        left = _left(world, decision, columns, cluster, n)
        draws = (np.where(left, np.einsum("np,apb->bna", phi, c, optimize=True), -np.inf) for c in (self.committed, self.clairvoyant))
        return np.where(left, phi @ self.committed.mean(axis=2).T, -np.inf), *draws

    def qbar(self, world: World, decision: str, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None, n: int) -> np.ndarray:
        """The first of :func:`tables`, shape (row, option)."""
        phi = self.basis.matrix(columns, cluster, n)
        return np.where(_left(world, decision, columns, cluster, n), phi @ self.committed.mean(axis=2).T, -np.inf)


def _feasible(study: Study, decision: str, columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    node = study[decision]
    assert isinstance(node, Decision)
    return study.feasible(decision, columns) if columns else np.ones((n, len(node.options)), dtype=bool)


def _left(world: World, decision: str, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None, n: int) -> np.ndarray:
    """Feasible options that gates have not removed, shape (row, option)."""
    return left_at(world, decision, columns, cluster, _feasible(world.study, decision, columns, n))


def reached(study: Study, decision: str, columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    """Simulated histories whose course has not ended before a decision, shape (n,): every earlier option was feasible."""
    found = np.ones(n, dtype=bool)
    for d in study.decisions[: study.stage(decision) - 1]:
        known = {node.name: columns[node.name] for node in study.before(d.name)}
        found &= _feasible(study, d.name, known, n)[np.arange(n), columns[d.name]]
    return found


def explore(world: World, rows: Rows, size: int, seed: int) -> dict[str, np.ndarray]:
    """Histories under options chosen at random among the feasible, one draw per patient; columns ``(size,)``.

    A course that has ended goes on under its first option, which is not feasible: see :func:`reached`.
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
    columns[EXPLORED] = cluster if cluster is not None else np.zeros(size, dtype=int)
    return columns


def _forward(world: World, stage: int, columns: dict[str, np.ndarray], cluster: np.ndarray | None, seed: int) -> np.ndarray:
    """Simulate a stage's responses in place, columns ``(draw, row)``; return the expected utility earned in it."""
    earned = np.zeros(next(iter(columns.values())).shape)
    for response in world.study.after(world.study.decisions[stage].name):
        earned += world.earning(response.name, columns, cluster)
        if world.matters(response.name):
            columns[response.name] = world.simulate(response.name, columns, cluster, "sample", luck(seed, response.name, earned.shape, FITTING))
        else:
            columns[response.name] = np.zeros(earned.shape)
        if world.study.pays(response.name):
            earned += world.study.earned(response.name, columns)
    return earned


def fit_stages(world: World, rows: Rows, seed: int, simulations: int = SIMULATIONS) -> dict[str, StageFit]:
    """Regression Monte Carlo backwards over all decisions.

    Parameters
    ----------
    world : World
        Thinned to at most MOST_DRAWS draws.
    rows : Rows
        Baseline columns of the observed patients.
    seed : int
    simulations : int
        Simulated transitions per option and stage, over all draws, about: at least 1000 a draw.

    Returns
    -------
    dict of str to StageFit
        For every decision.
    """
    check_simulable(world)
    size = -(-int(np.clip(simulations // world.size, 1000, 20_000)) // world.size) * world.size
    simulated = explore(world, rows, size, seed)
    clusters, full = simulated.pop(EXPLORED), size
    fits: dict[str, StageFit] = {}
    for stage in reversed(range(len(world.study.decisions))):
        decision = world.study.decisions[stage]
        columns = {n.name: simulated[n.name] for n in world.study.before(decision.name)}
        here = np.flatnonzero(reached(world.study, decision.name, columns, full))
        if not here.size:
            raise DecisionError(f"Decision {decision.name!r}: no simulated history reaches it; every course ends before it.")
        columns, size, cluster = {n: v[here] for n, v in columns.items()}, len(here), clusters[here]
        basis = Basis.of(world.study, decision.name, columns, size, 0 if rows.cluster is None else int(rows.cluster.max()) + 1)
        phi = basis.matrix(columns, cluster, size)
        feasible = _feasible(world.study, decision.name, columns, size)
        here = Rows(columns, None if rows.cluster is None else cluster, size)
        few = here.take(np.linspace(0, size - 1, min(size, max(FEW, PER_TERM * phi.shape[1]))).astype(int))
        if (exact := _worked_out(world, stage, few)) is not None:  # without noise, fewer histories do
            here, phi, feasible = few, basis.matrix(few.columns, few.cluster, few.n), _feasible(world.study, decision.name, few.columns, few.n)
        both = np.zeros((2, len(decision.options), phi.shape[1], world.size))
        misfit, roots, factored = np.zeros(len(decision.options)), np.zeros((len(decision.options), *phi.shape[1:] * 2)), {}
        for option in range(len(decision.options)):
            where = np.flatnonzero(feasible[:, option])
            if where.size:
                targets = exact[:, :, where, option] if exact is not None else _simulated(world, stage, here.take(where), option, fits, seed)
                design, key = phi[where], where.tobytes()
                ridge = factored[key] = factored.get(key) or Ridge.of(design)
                both[0, option], penalty = ridge.fit(targets[0].T)
                both[1, option] = ridge.fit(targets[1].T)[0]
                misfit[option], root = ridge.errors(targets[0].T, both[0, option], design, penalty, exact is None)
                roots[option, :, : root.shape[1]] = root
        fits[decision.name] = StageFit(basis, both[0], both[1], misfit, roots)
    return fits


def _worked_out(world: World, stage: int, rows: Rows) -> np.ndarray | None:
    """Values of every option at simulated histories without any simulation, ``[kind, draw, row, option]``; None where that is too much.

    What is regressed on the basis then holds no noise, and the fit only interpolates.
    """
    if leaves(world, stage, closed=True) * rows.n * world.size > WORKED_OUT or not flat_history(world.study):
        return None
    answers = list(solve(world, stage, rows, [committed, clairvoyant]))
    return np.stack([np.concatenate([a.values[kind] for a in answers], axis=1) for kind in range(2)])


def flat_history(study: Study) -> bool:
    """Whether a patient's own history says nothing about the draws: no parameters are shared."""
    return not study.shared


def _simulated(world: World, stage: int, rows: Rows, option: int, fits: Mapping[str, StageFit], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Utility to come of an option, simulated once for each draw and history, ``(draw, row)``: committed and clairvoyant later decisions."""
    index = np.broadcast_to(np.arange(rows.n), (world.size, rows.n))
    state = {n: v[index] for n, v in rows.columns.items()} | {world.study.decisions[stage].name: np.full(index.shape, option)}
    group = None if rows.cluster is None else rows.cluster[index]
    earned = _forward(world, stage, state, group, seed)
    after = _after(world, stage, state, group, fits)
    return earned + after[0], earned + after[1]


def _after(
    world: World, stage: int, state: dict[str, np.ndarray], cluster: np.ndarray | None, fits: dict[str, StageFit]
) -> tuple[np.ndarray, np.ndarray]:
    """Value of the next decision at simulated histories ``(draw, row)``: under the committed rule, and the best of each draw."""
    shape = next(iter(state.values())).shape
    if stage + 1 == len(world.study.decisions):
        return np.zeros(shape), np.zeros(shape)
    name = world.study.decisions[stage + 1].name
    fit = fits[name]
    exact = last_values(world, stage + 1, state, cluster)
    gated = None
    if world.safety is not None and world.safety.at(world.study, name):  # all histories at once: those that are alike are judged once
        flat = {n: v.ravel() for n, v in state.items()}
        gated = _left(world, name, flat, None if cluster is None else cluster.ravel(), int(np.prod(shape))).reshape(*shape, -1)
    committed, clairvoyant = np.empty(shape), np.empty(shape)
    for b in range(shape[0]):
        columns = {n: v[b] for n, v in state.items()}
        phi = fit.basis.matrix(columns, None if cluster is None else cluster[b], shape[1])
        left = _feasible(world.study, name, columns, shape[1]) if gated is None else gated[b]
        choice = np.where(left, phi @ fit.committed.mean(axis=2).T, -np.inf).argmax(axis=1)
        follow = phi @ fit.committed[:, :, b].T if exact is None else exact[:, b].T
        best = phi @ fit.clairvoyant[:, :, b].T if exact is None else exact[:, b].T
        going = left.any(axis=1)  # a course that has ended earns nothing more
        committed[b] = np.where(going, follow[np.arange(shape[1]), choice], 0.0)
        clairvoyant[b] = np.where(going, np.where(left, best, -np.inf).max(axis=1), 0.0)
    return committed, clairvoyant


def last_values(world: World, stage: int, state: dict[str, np.ndarray], cluster: np.ndarray | None) -> np.ndarray | None:
    """Values of the last decision's options without any fit, shape (option, draw, row); None where responses depend on one another."""
    decision = world.study.decisions[stage]
    responses = world.study.after(decision.name)
    if stage + 1 < len(world.study.decisions) or any(world.matters(r.name) for r in responses):
        return None
    shape = next(iter(state.values())).shape
    out = np.zeros((len(decision.options), *shape))
    for option in range(len(decision.options)):
        for response in responses:
            history = {**state, decision.name: np.full(shape, option), **{r.name: np.zeros(shape) for r in responses}}
            out[option] += world.earning(response.name, history, cluster)
    return out
