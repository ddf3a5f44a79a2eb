"""The best tree of at most two levels of tests, or if-then list of at most two clauses, by exact search.

Values are linear: a rule earns the sum over rows of the score of the option that it gives there. For every two variables the scores are
summed once over the cells of their bins; what lies on either side of any two tests is then a sum over these cells, so that all trees are
compared without visiting the rows again. (Exact search of shallow policy trees: Zhou, Athey and Wager, Operations Research 2023;
cumulative sums along sorted values, here in two dimensions at once.)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

TIE = 1e-12
"""Relative to the sum of all scores' sizes: a gain below this is rounding, and the simpler of two trees is taken."""


@dataclass(frozen=True)
class Leaf:
    """Everybody here gets one option, by its column among the scores."""

    option: int


@dataclass(frozen=True)
class Split:
    """A yes/no test, by its variable and its place among that variable's tests, and what follows either answer."""

    variable: int
    test: int
    yes: "Leaf | Split"
    no: "Leaf | Split"


Tree = Leaf | Split


@dataclass(frozen=True, eq=False)
class _Sides:
    """The best rule on one side of each of several tests, arrays of shape (test,).

    `variable` and `at` are the further test, -1 for none; `first` and `second` are the options after yes and no, `first` alone without a test.
    """

    value: np.ndarray
    leaves: np.ndarray
    variable: np.ndarray
    at: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def tree(self, t: int) -> Tree:
        """The rule as a tree."""
        if self.variable[t] < 0:
            return Leaf(int(self.first[t]))
        return Split(int(self.variable[t]), int(self.at[t]), Leaf(int(self.first[t])), Leaf(int(self.second[t])))


def search(
    codes: np.ndarray, inside: Sequence[np.ndarray], scores: np.ndarray, counts: np.ndarray, *, depth: int, kind: str = "tree", least: float = 0
) -> Tree:
    """The tree with the highest sum of scores.

    Parameters
    ----------
    codes : array of int, shape (row, variable)
        Bin of each row.
    inside : sequence of array of bool, shape (test, bin)
        By variable: the bins that answer yes to each of its tests; no test where there is nothing to ask.
    scores : array, shape (row, option)
        What each option is worth at a row, weighted as the row is to count.
    counts : array, shape (row,)
        How much a row adds to the size of a leaf.
    depth : {0, 1, 2}
        Levels of tests of a tree, clauses of a list.
    kind : {"tree", "list"}
        A list goes on after one of two answers only: if this, one option; else if that, another; else a third.
    least : float
        Smallest size of a leaf. A tree without tests is always allowed.

    Returns
    -------
    Leaf or Split
        Among trees of equal value one with the fewest leaves, then the first in the order of the variables and their tests.
    """
    level = scores - scores.mean(axis=1, keepdims=True)  # what all options share decides nothing, and costs digits
    body = np.column_stack([level, counts])
    near = TIE * float(np.abs(level).sum())
    whole = body.sum(axis=0)
    best: tuple[float, int, Tree] = float(whole[:-1].max()), 1, Leaf(int(whole[:-1].argmax()))
    used = {v: tests.astype(float) for v, tests in enumerate(inside) if len(tests)} if depth else {}
    for v, tests in used.items():
        yes = tests @ _sums(codes[:, v], tests.shape[1], body)
        no = whole - yes
        enough = (yes[:, -1] >= least) & (no[:, -1] >= least)
        if not enough.any():
            continue
        pairs = [(_plain(yes), _plain(no))]
        if depth > 1:
            # Sums over the cells of this variable and each other one: [test, bin of the other, column] on either side.
            cells = {g: _cells(codes[:, v], codes[:, g], tests.shape[1], other.shape[1], body) for g, other in used.items()}
            first = {g: np.tensordot(tests, table, axes=1) for g, table in cells.items()}
            second = {g: table.sum(axis=0) - first[g] for g, table in cells.items()}
            deep = _deeper(yes, first, used, least, near), _deeper(no, second, used, least, near)
            pairs = [deep] if kind == "tree" else [(pairs[0][0], deep[1]), (deep[0], pairs[0][1])]
        for one, two in pairs:
            value, leaves = np.where(enough, one.value + two.value, -np.inf), one.leaves + two.leaves
            tied = np.flatnonzero(value >= value.max() - near)
            t = int(tied[leaves[tied].argmin()])
            if value[t] > best[0] + near or (value[t] >= best[0] - near and leaves[t] < best[1]):
                best = float(value[t]), int(leaves[t]), Split(v, t, one.tree(t), two.tree(t))
    return joined(best[2])


def _sums(code: np.ndarray, bins: int, body: np.ndarray) -> np.ndarray:
    """Sums of columns by bin, shape (bin, column)."""
    return np.stack([np.bincount(code, weights=column, minlength=bins) for column in body.T], axis=1)


def _cells(code: np.ndarray, other: np.ndarray, bins: int, others: int, body: np.ndarray) -> np.ndarray:
    """Sums of columns by two variables' bins, shape (bin, other bin, column)."""
    return _sums(code * others + other, bins * others, body).reshape(bins, others, body.shape[1])


def _plain(totals: np.ndarray) -> _Sides:
    """One option on each side, by the sums ``[test, column]`` there."""
    top = totals[:, :-1].argmax(axis=1)
    none = np.full(len(top), -1)
    return _Sides(totals[np.arange(len(top)), top], np.ones(len(top), dtype=int), none, none, top, none)


def _deeper(
    totals: np.ndarray, tables: Mapping[int, np.ndarray], used: Mapping[int, np.ndarray], least: float, near: float
) -> _Sides:
    """At most one further test on each side: the best over all variables and tests.

    Parameters
    ----------
    totals : array, shape (test, column)
    tables : mapping of variable to array, shape (test, bin, column)
    used : mapping of variable to array, shape (further test, bin)
    """
    best, each = _plain(totals), np.arange(len(totals))
    for g, table in tables.items():
        yes = np.einsum("tb,sbc->stc", used[g], table, optimize=True)
        no = totals[:, None] - yes
        value = yes[..., :-1].max(axis=2) + no[..., :-1].max(axis=2)
        # Counts are whole numbers, so that differences of their sums are exact.
        value = np.where((yes[..., -1] >= least) & (no[..., -1] >= least), value, -np.inf)
        t = (value >= value.max(axis=1, keepdims=True) - near).argmax(axis=1)
        better = value[each, t] > best.value + near
        put = lambda new, old, better=better: np.where(better, new, old)  # noqa: E731
        best = _Sides(
            put(value[each, t], best.value), put(2, best.leaves), put(g, best.variable), put(t, best.at),
            put(yes[each, t, :-1].argmax(axis=1), best.first), put(no[each, t, :-1].argmax(axis=1), best.second),
        )
    return best


def joined(tree: Tree) -> Tree:
    """The tree without tests that change nothing."""
    if isinstance(tree, Leaf):
        return tree
    yes, no = joined(tree.yes), joined(tree.no)
    return yes if yes == no else Split(tree.variable, tree.test, yes, no)


Path = tuple[tuple[int, int, bool], ...]
"""Variables, their tests and the answers on the way to a leaf."""


def leaves_of(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, int]]:
    """Every leaf in reading order: the way to it and its option."""
    if isinstance(tree, Leaf):
        yield path, tree.option
    else:
        yield from leaves_of(tree.yes, (*path, (tree.variable, tree.test, True)))
        yield from leaves_of(tree.no, (*path, (tree.variable, tree.test, False)))


def chosen(tree: Tree, codes: np.ndarray, inside: Sequence[np.ndarray]) -> np.ndarray:
    """Options of the rows ``codes`` ``[row, variable]``, by their columns among the scores, shape (row,)."""
    if isinstance(tree, Leaf):
        return np.full(len(codes), tree.option)
    yes = inside[tree.variable][tree.test][codes[:, tree.variable]]
    out = np.empty(len(codes), dtype=int)
    for side, then in ((yes, tree.yes), (~yes, tree.no)):
        out[side] = chosen(then, codes[side], inside)
    return out
