"""Values that are independent Betas on a line: one-stage arms with a yes/no outcome, by deterministic quadrature."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import betaincinv

from .panels import WIDTH, Sheet, landmarks, seen_from

_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], dtype=np.uint64)


def distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of a table of numbers: where each stands first, and which of these each row equals.

    By a hash of the rows' bits; where two different rows share one, all rows are kept.
    """
    bits = np.ascontiguousarray(rows, dtype=float).view(np.uint64).reshape(len(rows), -1)
    hashed = np.zeros(len(rows), dtype=np.uint64)
    for column in bits.T:
        hashed = (hashed ^ column) * _ODD[0]
        hashed ^= hashed >> np.uint64(29)
    _, first, inverse = np.unique(hashed, return_index=True, return_inverse=True)
    if not np.array_equal(bits[first][inverse], bits):
        return np.arange(len(rows)), np.arange(len(rows))
    return first, inverse


def by_blocks(function: Callable[..., np.ndarray], table: np.ndarray) -> np.ndarray:
    """Apply a function of ``(WIDTH, column)`` to the distinct rows of a table, always so many at once."""
    first, inverse = distinct(table)
    rows, parts = table[first], []
    for begin in range(0, len(rows), WIDTH):
        block = rows[begin : begin + WIDTH]
        short = WIDTH - len(block)
        padded = np.concatenate([block, np.repeat(block[:1], short, axis=0)]) if short else block
        parts.append(function(padded)[: len(block)])
    return np.concatenate(parts)[inverse] if parts else function(np.ones((WIDTH, table.shape[1])))[:0]


@dataclass(frozen=True, eq=False)
class Betas:
    """Joint posterior of values ``offset + scale p`` with independent ``p ~ Beta(a, b)``; see :class:`~bayesdtr.trial.analysis.values.Values`.

    Parameters
    ----------
    a, b : array, shape (batch, entry)
        Above 0.
    scale, offset : float or array, shape (batch, entry), optional
        `scale` may be negative, where smaller rates are better, and is never 0. An entry with offset -inf is not possible.

    Notes
    -----
    ``P(i best) = E[prod_j F_j(X_i)]`` and ``P(range < m) = sum_i E[prod_j (F_j(X_i + m) - F_j(X_i))]``, ``j`` over the other entries,
    by Gauss-Legendre quadrature on panels; absolute errors are below 1e-10.
    """

    a: np.ndarray
    b: np.ndarray
    scale: np.ndarray = field(default=1.0)  # type: ignore[assignment]
    offset: np.ndarray = field(default=0.0)  # type: ignore[assignment]

    def __post_init__(self):
        shape = np.shape(self.a)
        for name in ("a", "b", "scale", "offset"):
            object.__setattr__(self, name, np.ascontiguousarray(np.broadcast_to(np.asarray(getattr(self, name), dtype=float), shape)))

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the batch and number of entries."""
        return self.a.shape  # type: ignore[return-value]

    @property
    def possible(self) -> np.ndarray:
        """Entries that are possible, ``[batch, entry]``."""
        return np.isfinite(self.offset)

    def mean(self) -> np.ndarray:
        """Posterior means ``[batch, entry]``."""
        return self.offset + self.scale * self.a / (self.a + self.b)

    def sd(self) -> np.ndarray:
        """Posterior SDs ``[batch, entry]``; 0 for entries that are not possible."""
        n = self.a + self.b
        return np.where(self.possible, np.abs(self.scale) * np.sqrt(self.a * self.b / (n + 1)) / n, 0.0)

    def quantile(self, level: float) -> np.ndarray:
        """Quantiles ``[batch, entry]``."""
        up = self.scale > 0
        table = np.stack([self.a.ravel(), self.b.ravel(), np.where(up, level, 1 - level).ravel()], axis=1)
        first, inverse = distinct(table)
        return self.offset + self.scale * betaincinv(*table[first].T)[inverse].reshape(self.shape)

    def p_best(self, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Probability of having the largest value, by quadrature, and its error, 0."""
        out = self._by_frame(_best_together, _best_apart, self._among(active))
        return out, np.zeros(self.shape)

    def exceeds(self, reference: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """``P(value - value of the reference > margin)``, ``[batch, entry]``; 0.5 for the reference itself."""
        reference = np.asarray(reference)
        table = self._table(self.possible, reference[:, None], np.full((len(reference), 1), float(margin)))
        return by_blocks(_exceeds, table)

    def within(self, margin: float, active: np.ndarray | None = None) -> np.ndarray:
        """``P(largest - smallest < margin)`` among the active and possible, ``[batch]``."""
        return self._by_frame(_within_together, _within_apart, self._among(active), np.full((len(self.a), 1), float(margin)))[:, 0]

    def take(self, index: np.ndarray) -> "Betas":
        """Some of the batch, by index."""
        return Betas(self.a[index], self.b[index], self.scale[index], self.offset[index])

    def _among(self, active: np.ndarray | None) -> np.ndarray:
        return self.possible if active is None else self.possible & active

    def _table(self, among: np.ndarray, *more: np.ndarray) -> np.ndarray:
        offset = np.where(self.possible, self.offset, 0.0)
        return np.concatenate([self.a, self.b, self.scale, offset, among.astype(float), *more], axis=1)

    def _by_frame(self, together: Callable, apart: Callable, among: np.ndarray, *more: np.ndarray) -> np.ndarray:
        """One sheet for all entries in rows where all that count lie on the same line, one for each entry elsewhere."""
        table, lead = self._table(among, *more), among.argmax(axis=1)[:, None]
        alike = np.ones(len(self.a), dtype=bool)
        for array in (self.scale, self.offset):
            alike &= (~among | (array == np.take_along_axis(array, lead, axis=1))).all(axis=1)
        if alike.all():
            return by_blocks(together, table)
        other = by_blocks(apart, table[~alike])
        out = np.empty((len(table), other.shape[1]))
        out[~alike] = other
        if alike.any():
            out[alike] = by_blocks(together, table[alike])
        return out


def _split(table: np.ndarray, more: int) -> tuple[np.ndarray, ...]:
    """The columns of a block: a, b, scale, offset, among ``(row, entry)``, and what else there is ``(row,)``."""
    entries = (table.shape[1] - more) // 5
    parts = [table[:, k * entries : (k + 1) * entries] for k in range(5)]
    parts[4] = parts[4] > 0
    return (*parts, *table[:, 5 * entries :].T)


def _others(below: np.ndarray) -> np.ndarray:
    """Product over all entries but one of ``(row, entry, panel, node)``, for each one left out."""
    before, after = np.ones_like(below), np.ones_like(below)
    for k in range(1, below.shape[1]):
        before[:, k] = before[:, k - 1] * below[:, k - 1]
        after[:, -k - 1] = after[:, -k] * below[:, -k]
    return before * after


def _shares(p: np.ndarray, among: np.ndarray) -> np.ndarray:
    p = np.where(among, p, 0.0)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1.0), 0.0)


def _common(a: np.ndarray, b: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Landmarks of the entries that count, ``(row, entry, mark)``; those of others stand where the first's do."""
    marks = landmarks(a, b)
    lead = marks[np.arange(len(a)), among.argmax(axis=1)]
    return np.where(among[..., None], marks, lead[:, None])


def _best_together(table: np.ndarray) -> np.ndarray:
    a, b, scale, _, among = _split(table, 0)
    sheet = Sheet(_common(a, b, among).reshape(len(a), -1))
    density, cdf = sheet.own(a, b)
    wide = (slice(None), slice(None), None, None)
    below = np.where(among[wide], np.where((scale > 0)[wide], cdf, 1 - cdf), 1.0)
    won = density * _others(below) * sheet.weight[:, None]
    return _shares(won.reshape(*a.shape, -1).sum(axis=2), among)


def _within_together(table: np.ndarray) -> np.ndarray:
    a, b, scale, _, among, margin = _split(table, 1)
    step = margin[:, None] / np.abs(scale)
    marks, shift = _common(a, b, among), np.where(step < 1, step, 0.0)
    shifted = seen_from(marks, shift, np.ones_like(shift))
    low, high = marks.min(axis=(1, 2)), marks.max(axis=(1, 2))
    edges = np.concatenate([marks.reshape(len(a), -1), shifted.reshape(len(a), -1)], axis=1)
    sheet = Sheet(np.clip(edges, low[:, None], high[:, None]))
    density, cdf = sheet.own(a, b)
    wide = (slice(None), slice(None), None, None)
    further = np.where((step < 1)[wide], sheet.guests(a, b, shift, np.ones_like(shift)), 1.0)
    near = np.where(among[wide], further - cdf, 1.0)
    inside = (density * _others(near) * among[wide]).sum(axis=1)
    return np.where(margin > 0, np.clip(sheet.integrate(inside), 0.0, 1.0), 0.0)[:, None]


def _below(host: np.ndarray, table: tuple[np.ndarray, ...], margins: tuple[np.ndarray, ...]) -> tuple[Sheet, np.ndarray, list[np.ndarray]]:
    """For one entry of each row: its density on a sheet of its own, and ``P(X_j <= X_host + margin)`` at the nodes for given margins."""
    a, b, scale, offset, _ = table
    rows, every = np.arange(len(a)), landmarks(a, b)
    marks = every[rows, host]
    edges, maps = [marks], []
    for margin in margins:
        shift = ((offset[rows, host] + margin)[:, None] - offset) / scale
        slope = scale[rows, host][:, None] / scale
        maps.append((shift, slope))
        edges.append(seen_from(every, shift, slope).reshape(len(a), -1))
    sheet = Sheet(np.clip(np.concatenate(edges, axis=1), marks[:, :1], marks[:, -1:]))
    density, _ = sheet.own(a[rows, host][:, None], b[rows, host][:, None])
    wide = (slice(None), slice(None), None, None)
    found = []
    for shift, slope in maps:
        cdf = sheet.guests(a, b, shift, slope)
        found.append(np.where((scale > 0)[wide], cdf, 1 - cdf))
    return sheet, density[:, 0], found


def _best_apart(table: np.ndarray) -> np.ndarray:
    parts = _split(table, 0)
    a, among = parts[0], parts[4]
    p = np.empty(a.shape)
    for i in range(a.shape[1]):
        sheet, density, (below,) = _below(np.full(len(a), i), parts, (np.zeros(len(a)),))
        counts = among.copy()
        counts[:, i] = False
        p[:, i] = sheet.integrate(density * np.where(counts[:, :, None, None], below, 1.0).prod(axis=1))
    return _shares(p, among)


def _within_apart(table: np.ndarray) -> np.ndarray:
    *parts, margin = _split(table, 1)
    a, among = parts[0], parts[4]
    total = np.zeros(len(a))
    for i in range(a.shape[1]):
        sheet, density, (below, further) = _below(np.full(len(a), i), tuple(parts), (np.zeros(len(a)), margin))
        counts = among.copy()
        counts[:, i] = False
        near = np.where(counts[:, :, None, None], further - below, 1.0).prod(axis=1)
        total += np.where(among[:, i], sheet.integrate(density * near), 0.0)
    return np.where(margin > 0, np.clip(total, 0.0, 1.0), 0.0)[:, None]


def _exceeds(table: np.ndarray) -> np.ndarray:
    *parts, reference, margin = _split(table, 2)
    possible, host = parts[4], reference.astype(int)
    sheet, density, (below,) = _below(host, tuple(parts), (margin,))
    p = ((density * sheet.weight)[:, None] * (1 - below)).reshape(*possible.shape, -1).sum(axis=2)
    p = np.where(possible, np.clip(p, 0.0, 1.0), 0.0)
    p[np.arange(len(p)), host] = 0.5
    return p
