"""Values of several batches put together as one, row by row."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..analysis.values import Values


@dataclass(frozen=True, eq=False)
class Pieced:
    """One batch of values made of parts; see :class:`~bayesdtr.trial.analysis.values.Values`.

    Attributes
    ----------
    parts : tuple of (array of int, Values)
        Rows of the whole batch, each row in one part, and the values there.
    entries : int
        Number of entries.
    """

    parts: tuple[tuple[np.ndarray, Values], ...]
    entries: int

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the batch and number of entries."""
        return sum(len(rows) for rows, _ in self.parts), self.entries

    def mean(self) -> np.ndarray:
        """Posterior means ``[batch, entry]``."""
        return self._whole(lambda v, _: v.mean())

    def sd(self) -> np.ndarray:
        """Posterior SDs ``[batch, entry]``."""
        return self._whole(lambda v, _: v.sd())

    def quantile(self, level: float) -> np.ndarray:
        """Quantiles ``[batch, entry]``."""
        return self._whole(lambda v, _: v.quantile(level))

    def p_best(self, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Probability of having the largest value, and its Monte Carlo error, both ``[batch, entry]``."""
        found = [(rows, v.p_best(None if active is None else active[rows])) for rows, v in self.parts]
        return self._put([(rows, p) for rows, (p, _) in found]), self._put([(rows, e) for rows, (_, e) in found])

    def exceeds(self, reference: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """``P(value - value of the reference > margin)``, ``[batch, entry]``."""
        return self._whole(lambda v, rows: v.exceeds(reference[rows], margin))

    def within(self, margin: float, active: np.ndarray | None = None) -> np.ndarray:
        """``P(largest - smallest < margin)`` among the active, ``[batch]``."""
        return self._whole(lambda v, rows: v.within(margin, None if active is None else active[rows]))

    def take(self, index: np.ndarray) -> "Pieced":
        """Some of the batch, by index; repeats allowed."""
        part, place = np.empty((2, self.shape[0]), dtype=int)
        for i, (rows, _) in enumerate(self.parts):
            part[rows], place[rows] = i, np.arange(len(rows))
        chosen = [(np.flatnonzero(part[index] == i), v) for i, (_, v) in enumerate(self.parts)]
        return Pieced(tuple((rows, v.take(place[index][rows])) for rows, v in chosen if len(rows)), self.entries)

    def _whole(self, ask: Callable[[Values, np.ndarray], np.ndarray]) -> np.ndarray:
        return self._put([(rows, ask(values, rows)) for rows, values in self.parts])

    def _put(self, found: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        out = np.empty((self.shape[0], *found[0][1].shape[1:]))
        for rows, piece in found:
            out[rows] = piece
        return out
