"""What it is worth to know something about the parameters: whole responses, quantities made of them, or the data of a further trial.

Posteriors of responses with separate parameters factorise, and so do further data about them. Once something is known, every response
therefore enters backward induction by its own conditional predictive distribution: per draw where its parameters are known, averaged
where nothing is, and by regression over draws where columns tell about them. The tree of histories is grown once and walked for each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DecisionError
from ..inference import Posterior
from ..study.rules import Rules
from .induction import (
    BUDGET,
    MOST_LEAVES,
    Chooser,
    DecisionNode,
    Known,
    ResponseNode,
    clairvoyant,
    committed,
    following,
    grow,
    leaves,
    options,
    own_histories,
    settle,
    tables,
)
from .rollout import following_rules, rollout
from .smoother import Smoother
from .values import baseline_rows, chains_of, population_weights
from .world import World

Told = Mapping[str, Smoother | None]
"""By response what is known of its parameters: None all of them, a smoother its columns. Nothing is known of a response left out."""
COPIES = 3
"""Tables held at once of every response: as they are, fitted, and fitted by folds."""


@dataclass(frozen=True, eq=False)
class Gain:
    """Gain in expected utility from knowing something, over going by the posterior as it is.

    Attributes
    ----------
    draws : array, shape (chain, draw)
        Best expected utility given what a draw would tell, less the committed rule's given the same. By regression over draws its mean is
        a little too high, since the best of noisy numbers is taken.
    cautious : array, shape (chain, draw), or None
        What the rule so informed adds in draws that its regression has not seen: on average no more than the truth. None where nothing
        is fitted.
    patients : array, shape (patient,), or None
        Mean of `draws` by observed patient; None for a class of regimes.
    """

    draws: np.ndarray
    cautious: np.ndarray | None
    patients: np.ndarray | None


def thinned(posterior: Posterior, most: float) -> np.ndarray:
    """Index of about `most` draws, the same number in every chain, as :func:`values.thin_to` has them."""
    chains, per_chain = posterior.shape
    step = min(-(-posterior.size // max(int(most), 1)), per_chain)
    return (np.arange(chains)[:, None] * per_chain + np.arange(0, per_chain, max(step, 1))).ravel()


def fits_tree(world: World) -> bool:
    """Whether the tree of histories is small enough to be walked."""
    return leaves(world, 0) <= MOST_LEAVES


def whole_groups(world: World, told: Told) -> None:
    """Refuse what the factorisation does not cover.

    Raises
    ------
    DecisionError
        Where a part of what responses with shared parameters share would be known.
    """
    shared = [n for n in world.study.shared if world.compiled[n].parameters]
    mine = [n for n in shared if n in told]
    if mine and (len(mine) < len(shared) or any(told[n] is not None for n in mine)):
        raise DecisionError(
            f"Responses {', '.join(shared)} share parameters (patient_effects, pool_stages), so that what is known of one tells about the "
            "others; name all of these responses together, none of them, or give regimes='embedded'."
        )


def given(raw: Known, root: DecisionNode, told: Told, own: Mapping[int, np.ndarray | None], size: int, how: str) -> Known:
    """Tables of every response once something is known, ``[draw, row, ...]``; `how` is "fitted", "crossed" or "raw" for what smoothers tell."""

    def one(name: str, node: ResponseNode, values: np.ndarray) -> np.ndarray:
        if name not in told:
            weight = own[id(node)]
            mean = values.mean(axis=0) if weight is None else (np.reshape(weight, (*weight.shape, *[1] * (values.ndim - 2))) * values).mean(axis=0)
            return np.broadcast_to(mean, values.shape)
        smoother = told[name]
        return values if smoother is None or how == "raw" else smoother.fitted(values) if how == "fitted" else smoother.crossed(values)

    found, node = {}, root.child
    while node is not None:
        if isinstance(node, ResponseNode):
            p, earned = raw[id(node)]
            shape = (size, node.rows.n)
            found[id(node)] = (None if p is None else one(node.name, node, np.asarray(p)),
                               one(node.name, node, np.broadcast_to(np.asarray(earned, dtype=float), shape)) if np.ndim(earned) else earned)
        node = node.child
    return found


def _at_root(root: DecisionNode, known: Known, size: int, choose: Chooser) -> np.ndarray:
    """Value ``[draw, row]`` of a rule at the root."""
    table = np.broadcast_to(options(root, known, choose), (size, *root.feasible.shape))
    return choose(root, table[:, root.row, root.option])


def recording(memory: dict[int, np.ndarray]) -> Chooser:
    """The best option of each draw, kept by node as the pairs chosen ``[draw, going]``."""

    def choose(node: DecisionNode, pairs: np.ndarray) -> np.ndarray:
        option = node.table(pairs)[:, node.going].argmax(axis=2)
        memory[id(node)] = node.pair[node.going][np.arange(len(node.going)), option]
        return node.spread(np.take_along_axis(pairs, memory[id(node)], axis=1))

    return choose


def remembering(memory: Mapping[int, np.ndarray]) -> Chooser:
    """What :func:`recording` has kept."""

    def choose(node: DecisionNode, pairs: np.ndarray) -> np.ndarray:
        return node.spread(np.take_along_axis(np.broadcast_to(pairs, (len(memory[id(node)]), pairs.shape[1])), memory[id(node)], axis=1))

    return choose


def informed(world: World, root: DecisionNode, raw: Known, told: Told) -> tuple[np.ndarray, np.ndarray | None]:
    """Gain of the optimal regime at each row, ``(draw, row)``, and the cautious one; the tree is settled."""
    own = own_histories(world, root, known=frozenset(told))
    known = given(raw, root, told, own, world.size, "fitted")
    gain = _at_root(root, known, world.size, clairvoyant) - _at_root(root, known, world.size, committed)
    if all(s is None for s in told.values()):
        return gain, None
    memory: dict[int, np.ndarray] = {}
    _at_root(root, given(raw, root, told, own, world.size, "crossed"), world.size, recording(memory))
    known = given(raw, root, told, own, world.size, "raw")
    return gain, _at_root(root, known, world.size, remembering(memory)) - _at_root(root, known, world.size, committed)


def optimal_gains(posterior: Posterior, index: np.ndarray, world: World, tolds: Sequence[Told]) -> list[Gain]:
    """Gains of the optimal regime, every later decision informed too; the tree of histories must be small enough.

    Parameters
    ----------
    posterior : Posterior
    index : array of int
        Draws that `world` and the smoothers are made of; see :func:`thinned`.
    world : World
    tolds : sequence of Told
    """
    for told in tolds:
        whole_groups(world, told)
    rows = baseline_rows(posterior)
    distinct, inverse = rows.unique()
    weights = population_weights(world, inverse, distinct.n, posterior.seed, rows.sets)
    size = leaves(world, 0)
    chunk = max(1, int(BUDGET // (COPIES * size * world.size)))
    gains = np.zeros((len(tolds), 2, world.size))
    patients = np.zeros((len(tolds), distinct.n))
    fitted = [any(s is not None for s in told.values()) for told in tolds]
    for begin in range(0, distinct.n, chunk):
        here = np.arange(begin, min(begin + chunk, distinct.n))
        root = grow(world, 0, distinct.take(here))
        settle(world, root)
        raw = tables(world, root)
        for t, told in enumerate(tolds):
            for kind, found in enumerate(informed(world, root, raw, told)):
                if found is not None:
                    gains[t, kind] += (weights[:, here] * found).sum(axis=1)
                    if not kind:
                        patients[t, here] = found.mean(axis=0)
    return [
        Gain(chains_of(posterior, gains[t, 0]), chains_of(posterior, gains[t, 1]) if fitted[t] else None,
             patients[t][inverse].reshape(rows.sets, -1).mean(axis=0))
        for t in range(len(tolds))
    ]


def class_gains(posterior: Posterior, world: World, tolds: Sequence[Told], regimes: Sequence[Rules]) -> list[Gain]:
    """Gains where one of some written regimes is chosen for everybody, on the tree of histories.

    The observed patients count equally: the covariates' law is none of the parameters.
    """
    for told in tolds:
        whole_groups(world, told)
    rows = baseline_rows(posterior)
    distinct, inverse = rows.unique()
    share = np.bincount(inverse, minlength=distinct.n) / rows.n
    size = leaves(world, 0)
    chunk = max(1, int(BUDGET // (COPIES * size * world.size)))
    values = np.zeros((len(tolds), 3, world.size, len(regimes)))
    for begin in range(0, distinct.n, chunk):
        here = np.arange(begin, min(begin + chunk, distinct.n))
        root = grow(world, 0, distinct.take(here))
        settle(world, root)
        raw = tables(world, root)
        for t, told in enumerate(tolds):
            own = own_histories(world, root, known=frozenset(told))
            for kind, how in enumerate(("fitted", "crossed", "raw") if any(s is not None for s in told.values()) else ("fitted",)):
                known = given(raw, root, told, own, world.size, how)
                for e, rules in enumerate(regimes):
                    values[t, kind, :, e] += _at_root(root, known, world.size, following(world, rules)) @ share[here]
    found = []
    for t, told in enumerate(tolds):
        fitted = any(s is not None for s in told.values())
        found.append(_of_class(posterior, values[t, 0], values[t, 1] if fitted else None, values[t, 2] if fitted else None))
    return found


def simulated_gains(posterior: Posterior, values: np.ndarray, smoothers: Iterable[Smoother | None]) -> list[Gain]:
    """As :func:`class_gains`, of values ``[draw, regime]`` from rollouts; None in place of a smoother: every parameter is known."""
    return [_of_class(posterior, *((values, None, None) if s is None else (s.fitted(values), s.crossed(values), values))) for s in smoothers]


def _of_class(posterior: Posterior, fitted: np.ndarray, crossed: np.ndarray | None, raw: np.ndarray | None) -> Gain:
    """Gain of choosing among regimes by their conditional values ``[draw, regime]``."""
    best = int(fitted.mean(axis=0).argmax())
    gain = fitted.max(axis=1) - fitted[:, best]
    cautious = None
    if crossed is not None and raw is not None:
        cautious = chains_of(posterior, np.take_along_axis(raw, crossed.argmax(axis=1)[:, None], axis=1)[:, 0] - raw[:, best])
    return Gain(chains_of(posterior, gain), cautious, None)


def class_values(posterior: Posterior, world: World, regimes: Sequence[Rules]) -> np.ndarray:
    """Values of regimes ``[draw, regime]`` under each draw of a world, by the tree of histories or, where that is too large, by rollouts."""
    rows = baseline_rows(posterior)
    if not fits_tree(world):
        return np.stack([rollout(world, rows, following_rules(world, r, posterior.seed), posterior.seed) for r in regimes], axis=-1)
    distinct, inverse = rows.unique()
    share = np.bincount(inverse, minlength=distinct.n) / rows.n
    total = np.zeros((world.size, len(regimes)))
    chunk = max(1, int(BUDGET // (leaves(world, 0) * world.size)))
    for begin in range(0, distinct.n, chunk):
        here = np.arange(begin, min(begin + chunk, distinct.n))
        root = grow(world, 0, distinct.take(here))
        raw = tables(world, root)
        for e, rules in enumerate(regimes):
            total[:, e] += _at_root(root, raw, world.size, following(world, rules)) @ share[here]
    return total


