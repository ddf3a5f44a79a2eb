"""The search for trees and lists against every tree and list written out."""

import itertools

import numpy as np
import pytest

from bayesdtr.decision.reading.treesearch import Leaf, Split, Tree, chosen, joined, leaves_of, search


def questions(kind: str, bins: int) -> np.ndarray:
    """Every test of a variable: below a cut, or one level."""
    if kind == "ordered":
        return np.arange(bins)[None] < np.arange(1, bins)[:, None]
    return np.eye(bins, dtype=bool) if bins > 2 else np.eye(bins, dtype=bool)[:1]


def every_tree(inside: list[np.ndarray], options: int, depth: int) -> list[Tree]:
    """Every tree of a depth, none left out."""
    trees: list[Tree] = [Leaf(o) for o in range(options)]
    if depth:
        below = every_tree(inside, options, depth - 1)
        trees += [Split(v, t, a, b) for v, tests in enumerate(inside) for t in range(len(tests)) for a, b in itertools.product(below, repeat=2)]
    return trees


def is_list(tree: Tree) -> bool:
    return isinstance(tree, Leaf) or any(isinstance(side, Leaf) for side in (tree.yes, tree.no))


def follow(tree: Tree, codes: np.ndarray, inside: list[np.ndarray], row: int) -> tuple[int, tuple]:
    """One row's option and leaf, test by test."""
    path = ()
    while isinstance(tree, Split):
        yes = bool(inside[tree.variable][tree.test, codes[row, tree.variable]])
        path += (yes,)
        tree = tree.yes if yes else tree.no
    return tree.option, path


def worth(tree: Tree, codes, inside, scores, counts, least) -> float:
    """Sum of scores row by row; nothing where a leaf is too small."""
    total, sizes = 0.0, {}
    for row in range(len(codes)):
        option, path = follow(tree, codes, inside, row)
        total += scores[row, option]
        sizes[path] = sizes.get(path, 0) + counts[row]
    expected = [tuple(yes for _, _, yes in path) for path, _ in leaves_of(tree)]
    small = isinstance(tree, Split) and any(sizes.get(path, 0) < least for path in expected)
    return -np.inf if small else total


def problem(seed: int, bins=(3, 2, 3), kinds=("ordered", "level", "level"), options=2, rows=25):
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(b, size=rows) for b in bins], axis=1)
    inside = [questions(k, b) for k, b in zip(kinds, bins, strict=True)]
    return codes, inside, rng.normal(size=(rows, options)) + 10 * rng.normal(size=(rows, 1)), rng.integers(0, 3, size=rows).astype(float)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("depth", "kind", "least"), [(0, "tree", 0), (1, "tree", 0), (1, "list", 5), (2, "tree", 0), (2, "tree", 4), (2, "list", 4)])
def test_no_tree_of_the_class_is_better(seed, depth, kind, least):
    codes, inside, scores, counts = problem(seed, options=2 + seed % 2)
    trees = [t for t in every_tree(inside, scores.shape[1], depth) if kind == "tree" or is_list(t)]
    # Rows with the same bins add up, which keeps writing out every tree short.
    cells, inverse = np.unique(codes, axis=0, return_inverse=True)
    sums = np.stack([np.bincount(inverse.ravel(), weights=c, minlength=len(cells)) for c in scores.T], axis=1)
    sizes = np.bincount(inverse.ravel(), weights=counts, minlength=len(cells))
    best = max(worth(t, cells, inside, sums, sizes, least) for t in trees)
    found = search(codes, inside, scores, counts, depth=depth, kind=kind, least=least)
    assert worth(found, codes, inside, scores, counts, least) == pytest.approx(best, abs=1e-10)
    assert found in [joined(t) for t in trees]
    assert [follow(found, codes, inside, r)[0] for r in range(len(codes))] == chosen(found, codes, inside).tolist()


def test_many_bins_against_a_search_row_by_row():
    """One variable with many cuts and another with few: depth two by trying both sides of every root anew."""
    codes, inside, scores, counts = problem(11, bins=(40, 7, 2), kinds=("ordered", "ordered", "level"), options=3, rows=300)
    found = search(codes, inside, scores, counts, depth=2, least=20)
    best = -np.inf
    for v, tests in enumerate(inside):
        for t in range(len(tests)):
            yes = tests[t][codes[:, v]]
            if min(counts[yes].sum(), counts[~yes].sum()) < 20:
                continue
            best = max(best, sum(
                worth_of(search(codes[s], inside, scores[s], counts[s], depth=1, least=20), codes[s], inside, scores[s]) for s in (yes, ~yes)))
    assert worth_of(found, codes, inside, scores) == pytest.approx(best, abs=1e-10)


def worth_of(tree: Tree, codes, inside, scores) -> float:
    return float(scores[np.arange(len(codes)), chosen(tree, codes, inside)].sum())


def test_equal_trees_and_tests_that_change_nothing():
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    inside = [questions("level", 2)] * 2
    one_way = np.array([[1.0, 0.0]] * 4)
    assert search(codes, inside, one_way, np.ones(4), depth=2) == Leaf(0)
    both_ways = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert search(codes, inside, both_ways, np.ones(4), depth=2) == Split(0, 0, Leaf(0), Leaf(1))
    crossed = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])  # no single test helps, two do
    found = search(codes, inside, crossed, np.ones(4), depth=2)
    assert chosen(found, codes, inside).tolist() == [0, 1, 1, 0]
    assert isinstance(search(codes, inside, crossed, np.ones(4), depth=1), Leaf)
    assert search(codes, inside, crossed, np.ones(4), depth=2, least=2) == Leaf(0)
    assert search(codes, [np.zeros((0, 2), dtype=bool)] * 2, crossed, np.ones(4), depth=2) == Leaf(0)
