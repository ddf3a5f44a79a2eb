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
PENALTIES = np.append(0.0, np.logspace(-12, 0, 13))
"""Of the ridge, in units of the largest singular value squared."""


@dataclass(frozen=True, eq=False)
class Design:
    """A design matrix without its means: orthonormal directions ``[draw, term]`` and singular values, of all draws and of each fold's others."""

    u: np.ndarray
    s: np.ndarray
    folds: tuple[tuple[slice, np.ndarray, np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, matrix: np.ndarray) -> "Design":
        """Factorise a matrix ``[draw, term]``."""
        u, s, _ = _factors(matrix - matrix.mean(axis=0))
        folds, size = [], len(matrix)
        for k in range(FOLDS if size >= 2 * FOLDS else 0):
            test = slice(k * size // FOLDS, (k + 1) * size // FOLDS)
            train = np.delete(matrix, test, axis=0)
            mean = train.mean(axis=0)
            own, values, directions = _factors(train - mean)
            folds.append((test, own, values, (matrix[test] - mean) @ directions.T))
        return cls(u, s, tuple(folds))

    def score(self, targets: np.ndarray, total: float) -> tuple[float, float]:
        """Least generalised cross-validation score, and the penalty that gives it."""
        power = ((self.u.T @ targets) ** 2).sum(axis=1)
        best = np.inf, 0.0
        for share in PENALTIES:
            kept = self.s**2 / (self.s**2 + share * self.s[0] ** 2)
            score = (total - ((2 * kept - kept**2) * power).sum()) / max(len(targets) - 1 - kept.sum(), 1.0) ** 2
            if score < best[0]:
                best = score, float(share)
        return best


def _factors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular value decomposition without directions that hold nothing."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    real = s > 1e-9 * s[0]
    return u[:, real], s[real], vt[real]


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
        return self._fit(values)[0]

    def crossed(self, values: np.ndarray) -> np.ndarray:
        """As :meth:`fitted`, the coefficients for each fifth of the draws learned from the other draws."""
        return self._fit(values, cross=True)[0]

    def explained(self, values: np.ndarray) -> float:
        """Share of the variance of values that the columns explain."""
        fitted, total = self._fit(values)
        return float(((fitted - values.mean(axis=0)) ** 2).sum() / total) if total > 0 else 0.0

    def _fit(self, values: np.ndarray, cross: bool = False) -> tuple[np.ndarray, float]:
        flat = values.reshape(len(values), -1)
        centered = flat - flat.mean(axis=0)
        total = float((centered**2).sum())
        if not self.designs or total == 0:
            return np.broadcast_to(values.mean(axis=0), values.shape), total
        scored = [(*d.score(centered, total), d) for d in self.designs]
        score, share, design = min(scored, key=lambda item: item[0])
        if score >= total / max(len(values) - 1, 1) ** 2:  # no design says more than the mean does
            return np.broadcast_to(values.mean(axis=0), values.shape), total
        if not cross or not design.folds:
            kept = design.s**2 / (design.s**2 + share * design.s[0] ** 2)
            out = flat.mean(axis=0) + design.u @ (kept[:, None] * (design.u.T @ centered))
            return out.reshape(values.shape), total
        out = np.empty(flat.shape)
        for test, u, s, rows in design.folds:
            train = np.delete(flat, test, axis=0)
            mean = train.mean(axis=0)
            weight = s / (s**2 + share * s[0] ** 2)
            out[test] = mean + rows @ (weight[:, None] * (u.T @ (train - mean)))
        return out.reshape(values.shape), total
