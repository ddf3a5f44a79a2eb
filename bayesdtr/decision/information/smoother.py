"""Conditional means over draws: what is expected of quantities when some columns of the same draws are known."""

from dataclasses import dataclass

import numpy as np

KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)
CURVED = 4
"""Columns up to which each has hinges at its quantiles; with more, each has its square."""
ROOM = 40
"""Draws per term of a design, at least."""
FOLDS = 5
EDGE = 6.0
"""SDs beyond which a column counts as its edge."""
IDLE = 1e-12
"""Share of the largest power below which an axis of a design holds nothing but rounding."""
PENALTIES = np.append(0.0, np.logspace(-12, 0, 13))
"""Of the ridge, in units of the largest power along an axis."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a design's rows: their means, and axes of their cross products with the power along each, none of which is idle."""

    mean: np.ndarray
    axes: np.ndarray
    power: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Part":
        mean = rows.mean(axis=0)
        power, axes = np.linalg.eigh(rows.T @ rows - len(rows) * np.outer(mean, mean))
        real = power > IDLE * power[-1]
        return cls(mean, axes[:, real], power[real])

    def project(self, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Cross products of the axes with targets of mean 0, shape (axis, target)."""
        return self.axes.T @ (rows.T @ targets)

    def coefficients(self, rows: np.ndarray, targets: np.ndarray, share: float) -> np.ndarray:
        """Ridge coefficients of targets of mean 0, shape (term, target)."""
        return self.axes @ (self.project(rows, targets) / (self.power + share * self.power[-1])[:, None])


@dataclass(frozen=True, eq=False)
class Design:
    """A design matrix ``[draw, term]``, factorised for all draws and for those outside of each fold."""

    matrix: np.ndarray
    whole: Part
    folds: tuple[tuple[slice, Part], ...]

    @classmethod
    def of(cls, matrix: np.ndarray) -> "Design":
        """Factorise a matrix."""
        size = len(matrix)
        tests = [slice(k * size // FOLDS, (k + 1) * size // FOLDS) for k in range(FOLDS if size >= 2 * FOLDS else 0)]
        return cls(matrix, Part.of(matrix), tuple((test, Part.of(np.delete(matrix, test, axis=0))) for test in tests))

    def score(self, targets: np.ndarray, total: float) -> tuple[float, float]:
        """Least generalised cross-validation score, and the penalty that gives it."""
        power = self.whole.power
        explained = (self.whole.project(self.matrix, targets) ** 2).sum(axis=1) / power
        best = np.inf, 0.0
        for share in PENALTIES:
            kept = power / (power + share * power[-1])
            score = (total - ((2 * kept - kept**2) * explained).sum()) / max(len(targets) - 1 - kept.sum(), 1.0) ** 2
            if score < best[0]:
                best = score, float(share)
        return best


@dataclass(frozen=True, eq=False)
class Smoother:
    """Least squares of quantities on functions of known columns, over posterior draws.

    A linear smoother that keeps means: fitted probabilities sum to one, and the average over draws is untouched.
    Which design of several, and its ridge penalty, is chosen by generalised cross-validation for each set of quantities.

    Attributes
    ----------
    designs : tuple of Design
        From the plainest to the richest; empty where the columns are constant, so that nothing is known.
    """

    designs: tuple[Design, ...]

    @classmethod
    def of(cls, columns: np.ndarray) -> "Smoother":
        """Build designs from columns ``[draw, column]``: linear, curved, with products of two."""
        spread = columns.std(axis=0)
        columns = columns[:, spread > 1e-12 * (1 + np.abs(columns).max(axis=0, initial=0.0))]
        if not columns.shape[1]:
            return cls(())
        z = np.clip((columns - columns.mean(axis=0)) / columns.std(axis=0), -EDGE, EDGE)
        size, count = z.shape
        room = size // ROOM
        hinges = [np.maximum(z - np.quantile(z, k, axis=0), 0.0) for k in KNOTS] if count <= CURVED else []
        bent = np.concatenate([z**2, *hinges], axis=1)
        pairs = [(z[:, i] * z[:, j])[:, None] for i in range(count) for j in range(i)]
        made = [z]
        if count + bent.shape[1] <= room:
            made.append(np.concatenate([z, bent], axis=1))
        if pairs and count + bent.shape[1] + len(pairs) <= room:
            made.append(np.concatenate([z, bent, *pairs], axis=1))
        return cls(tuple(Design.of(m) for m in made))

    def fitted(self, values: np.ndarray) -> np.ndarray:
        """Conditional means ``[draw, ...]`` of values ``[draw, ...]``."""
        return self._fit(values)

    def crossed(self, values: np.ndarray) -> np.ndarray:
        """As :meth:`fitted`, the coefficients for each fifth of the draws learned from the other draws."""
        return self._fit(values, cross=True)

    def _fit(self, values: np.ndarray, cross: bool = False) -> np.ndarray:
        flat = values.reshape(len(values), -1)
        centered = flat - flat.mean(axis=0)
        total = float((centered**2).sum())
        if not self.designs or total == 0:
            return np.broadcast_to(values.mean(axis=0), values.shape)
        scored = [(*d.score(centered, total), d) for d in self.designs]
        score, share, design = min(scored, key=lambda item: item[0])
        if score >= total / max(len(values) - 1, 1) ** 2:  # no design says more than the mean does
            return np.broadcast_to(values.mean(axis=0), values.shape)
        if not cross or not design.folds:
            out = flat.mean(axis=0) + (design.matrix - design.whole.mean) @ design.whole.coefficients(design.matrix, centered, share)
            return out.reshape(values.shape)
        out = np.empty(flat.shape)
        for test, part in design.folds:
            train = np.delete(flat, test, axis=0)
            mean = train.mean(axis=0)
            coefficients = part.coefficients(np.delete(design.matrix, test, axis=0), train - mean, share)
            out[test] = mean + (design.matrix[test] - part.mean) @ coefficients
        return out.reshape(values.shape)
