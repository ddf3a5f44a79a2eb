"""Distributions of independent Betas on common panels of Gauss-Legendre nodes: densities, and their integrals up to every node.

On the scale of log-odds a Beta's density is analytic and falls off at least exponentially on both sides. Panels are laid between points at
which the log density of one of the Betas has fallen by given amounts from its top, so that a narrow one among wide ones is resolved as well as
one alone. A distribution function at the nodes is the integral of the density's interpolating polynomial, panel by panel.
"""

import numpy as np
from scipy.special import betainc, betaln

WIDTH = 64
"""Rows worked out at once, whatever is asked for: an answer must not depend on its neighbors, to the last bit."""
NODES = 12
DROPS = (0.72, 2.9, 6.5, 11.5, 18.0, 30.0)
"""Falls of the log density at which panels end: 1.2, 2.4, ... standard deviations of a Normal one."""
STEPS = 7

_X, _W = np.polynomial.legendre.leggauss(NODES)


def _integrals() -> np.ndarray:
    """Integrals of the Lagrange polynomials of the nodes from -1 to every node, and to 1 in the last column; ``(node, node + 1)``."""
    to = np.append(_X, 1.0)
    legendre = np.polynomial.legendre.legvander(_X, NODES - 1)
    # Coefficients in Legendre polynomials by the quadrature itself, exact for their products; integrals of these by the recurrence.
    coefficients = (legendre * _W[:, None]) * (2 * np.arange(NODES) + 1) / 2
    up = np.polynomial.legendre.legvander(to, NODES)
    integral = np.empty((len(to), NODES))
    integral[:, 0] = to + 1
    for k in range(1, NODES):
        integral[:, k] = (up[:, k + 1] - up[:, k - 1]) / (2 * k + 1)
    return coefficients @ integral.T


_UP_TO = _integrals()


def landmarks(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Log-odds at which each log density has fallen by `DROPS`, and its top; shape ``(..., 2 drops + 1)``, ascending.

    With ``u`` the distance from the top, the fall is ``(a + b) log(1 + a (e^u - 1) / (a + b)) - a u``, which is convex: Newton's method.
    """
    a, b = a[..., None], b[..., None]
    share, drop = a / (a + b), np.array(DROPS)
    sides = []
    for sign in (-1.0, 1.0):
        u = sign * np.sqrt(2 * drop * (a + b) / (a * b))
        for _ in range(STEPS):
            grown = share * np.expm1(u)
            slope = (a + b) * (share + grown) / (1 + grown) - a
            u = np.clip(u - ((a + b) * np.log1p(grown) - a * u - drop) / slope, -500.0, 500.0)
        sides.append(u)
    top = np.log(a / b)
    return np.concatenate([top + sides[0][..., ::-1], top, top + sides[1]], axis=-1)


class Sheet:
    """Nodes on the scale of log-odds for each row.

    Attributes
    ----------
    t : array, shape (row, panel, node)
    half : array, shape (row, panel)
        Half the length of each panel.
    weight : array, shape (row, panel, node)
    """

    def __init__(self, edges: np.ndarray):
        edges = np.sort(edges, axis=1)
        self.low = edges[:, 0]
        self.half = np.diff(edges, axis=1) / 2
        self.t = (edges[:, :-1] + self.half)[..., None] + self.half[..., None] * _X
        self.weight = self.half[..., None] * _W

    def integrate(self, values: np.ndarray) -> np.ndarray:
        """Integral over the nodes of values ``(row, panel, node)``, shape (row,)."""
        return (values * self.weight).reshape(len(values), -1).sum(axis=1)

    def cumulated(self, density: np.ndarray) -> np.ndarray:
        """Integral up to each node of densities ``(row, entry, panel, node)``."""
        part = np.matmul(density, _UP_TO) * self.half[:, None, :, None]
        before = np.cumsum(part[..., -1], axis=2) - part[..., -1]
        return part[..., :-1] + before[..., None]

    def own(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Densities per unit of log-odds, and distribution functions, of Betas that lie within the sheet; ``(row, entry, panel, node)``."""
        log = np.log1p(np.exp(-np.abs(self.t)))
        yes, no = np.minimum(self.t, 0) - log, -np.maximum(self.t, 0) - log
        wide = (slice(None), slice(None), None, None)
        density = np.exp(a[wide] * yes[:, None] + b[wide] * no[:, None] - betaln(a, b)[wide])
        return density, np.clip(self.cumulated(density), 0.0, 1.0)

    def guests(self, a: np.ndarray, b: np.ndarray, shift: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Distribution functions of Betas at ``shift + slope p``, where ``p`` is the sheet's own probability; ``(row, entry, panel, node)``."""
        wide = (slice(None), slice(None), None, None)
        at = lambda t: (1 / (1 + np.exp(-t)), 1 / (1 + np.exp(t)))  # noqa: E731
        p, q = (x[:, None] for x in at(self.t))
        here, rest = shift[wide] + slope[wide] * p, (1 - shift - slope)[wide] + slope[wide] * q
        inside = (here > 0) & (rest > 0)
        here, rest = np.where(inside, here, 0.5), np.where(inside, rest, 0.5)
        log = (a - 1)[wide] * np.log(here) + (b - 1)[wide] * np.log(rest) - betaln(a, b)[wide]
        density = np.where(inside, np.exp(log) * p * q * np.abs(slope)[wide], 0.0)
        start = betainc(a, b, np.clip(shift + slope * at(self.low)[0][:, None], 0.0, 1.0))
        return np.clip(start[wide] + np.sign(slope)[wide] * self.cumulated(density), 0.0, 1.0)


def seen_from(marks: np.ndarray, shift: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Where guests' landmarks ``(row, entry, mark)`` and the ends of their range lie on a host's scale of log-odds; outside it, far away."""
    p = 1 / (1 + np.exp(-marks))
    ends = np.broadcast_to(np.array([0.0, 1.0]), (*p.shape[:2], 2))
    host = (np.concatenate([p, ends], axis=2) - shift[..., None]) / slope[..., None]
    tiny = 1e-300
    with np.errstate(invalid="ignore"):
        inside = np.clip(host, tiny, 1 - 1e-16)
        return np.log(inside) - np.log1p(-inside)
