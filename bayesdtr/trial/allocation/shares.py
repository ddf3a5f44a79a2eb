"""From probabilities of being best to probabilities of assignment: tempering, floors, ceilings, a protected control.

Pure functions on arrays with shape ``(m, option)``. Options that are not feasible have probability 0 and count nowhere: ``K``, the number of
options, is each row's own.
"""

import numpy as np

FLOORS = ("affine", "clip", "iterative")
SLACK = 1e-12
"""Rounding that a comparison with a floor or ceiling overlooks."""


def summed(table: np.ndarray) -> np.ndarray:
    """Sums over the last axis, which is kept; from left to right, so that a row's last bits do not depend on how many rows there are."""
    total = table[..., :1] + 0
    for k in range(1, table.shape[-1]):
        total = total + table[..., k : k + 1]
    return total


def normalized(weights: np.ndarray, feasible: np.ndarray) -> np.ndarray:
    """Weights made to sum to 1 among the feasible; equal where all weights are 0, all 0 where nothing is feasible.

    Parameters
    ----------
    weights : array, shape (m, option)
    feasible : array of bool, shape (m, option)

    Returns
    -------
    array, shape (m, option)
    """
    kept = np.where(feasible, weights, 0.0)
    kept = np.where(summed(kept) > 0, kept, feasible)
    total = summed(kept)
    return np.divide(kept, total, out=np.zeros_like(kept), where=total > 0)


def tempered(p: np.ndarray, power: np.ndarray | float, feasible: np.ndarray) -> np.ndarray:
    """``p ** power``, normalized: 1 leaves it as it is, 0 makes it equal (Thall and Wathen 2007).

    Parameters
    ----------
    p : array, shape (m, option)
    power : array, shape (m,), or float
    feasible : array of bool, shape (m, option)

    Returns
    -------
    array, shape (m, option)
    """
    exponent = np.broadcast_to(np.asarray(power, dtype=float), (len(p),))[:, None]
    # Divided by the largest first, so that a large power cannot make everything underflow.
    top = np.where(feasible, p, 0.0).max(axis=1, keepdims=True, initial=0.0)
    relative = np.divide(p, top, out=np.ones_like(p), where=top > 0)
    return normalized(np.power(np.clip(relative, 0.0, 1.0), exponent), feasible)


def affine_floor(share: np.ndarray, floor: float, feasible: np.ndarray, total: np.ndarray | float = 1.0) -> np.ndarray:
    """``floor + (total - K floor) share``: no feasible option below the floor, and nothing to renormalize afterwards.

    Parameters
    ----------
    share : array, shape (m, option)
        Sums to 1 among the feasible.
    floor : float
    feasible : array of bool, shape (m, option)
    total : array, shape (m, 1), or float
        What the result sums to.

    Returns
    -------
    array, shape (m, option)
    """
    count = feasible.sum(axis=1, keepdims=True)
    return np.where(feasible, floor + (total - count * floor) * share, 0.0)


def clipped(share: np.ndarray, floor: float, feasible: np.ndarray) -> np.ndarray:
    """Plain clipping to ``[floor, 1 - floor]``, which sums to 1 for two options and for no other number.

    Parameters
    ----------
    share : array, shape (m, option)
    floor : float
    feasible : array of bool, shape (m, option)
        At most two in a row.

    Returns
    -------
    array, shape (m, option)
    """
    both = feasible.sum(axis=1, keepdims=True) == 2
    return np.where(feasible & both, np.clip(share, floor, 1 - floor), np.where(feasible, share, 0.0))


def iterative_floor(share: np.ndarray, floor: float, feasible: np.ndarray) -> np.ndarray:
    """Options below the floor are set to it, the rest is shared among the others in proportion, again until none is below.

    Parameters
    ----------
    share : array, shape (m, option)
        Sums to 1 among the feasible.
    floor : float
    feasible : array of bool, shape (m, option)

    Returns
    -------
    array, shape (m, option)

    Notes
    -----
    As adaptr and other simulators of adaptive trials do it. The largest share is at least 1 / K, so somebody is always left to take the rest.
    """
    raised = np.zeros_like(feasible)
    result = share
    for turn in range(share.shape[1]):
        low = feasible & (result < floor - SLACK) & ~raised
        if turn and not low.any():
            break
        raised = raised | low
        rest = 1 - floor * summed(raised)
        result = np.where(raised, floor, rest * normalized(share, feasible & ~raised))
    return result


def floored(share: np.ndarray, floor: float, rule: str, feasible: np.ndarray) -> np.ndarray:
    """A floor by one of the rules in `FLOORS`, shape (m, option)."""
    if floor == 0:
        return share
    if rule == "affine":
        return affine_floor(share, floor, feasible)
    return clipped(share, floor, feasible) if rule == "clip" else iterative_floor(share, floor, feasible)


def capped(p: np.ndarray, ceiling: float, floor: float, feasible: np.ndarray) -> np.ndarray:
    """No feasible option above a ceiling: ``min(ceiling, floor + t (p - floor))`` with the ``t >= 1`` for which it sums to 1.

    What is cut off is poured over the others in proportion to their excess above the floor, so floors hold; equally where they have none. Where
    options were dropped until the ceiling could not be met (K times the ceiling below 1), it rises to 1 / K.

    Parameters
    ----------
    p : array, shape (m, option)
        Not below the floor, sums to 1 among the feasible.
    ceiling, floor : float
    feasible : array of bool, shape (m, option)

    Returns
    -------
    array, shape (m, option)
    """
    count = np.maximum(feasible.sum(axis=1, keepdims=True), 1)
    limit = np.maximum(ceiling, 1 / count)
    excess = np.where(feasible, np.maximum(p - floor, 0.0), 0.0)
    full = np.zeros_like(feasible)
    result = p
    for _ in range(p.shape[1]):
        over = feasible & (result > limit + SLACK)
        full = full | over
        left = feasible & ~full
        rest = 1 - limit * full.sum(axis=1, keepdims=True) - floor * left.sum(axis=1, keepdims=True)
        poured = floor + rest * normalized(excess, left)
        touched = full.any(axis=1, keepdims=True)
        result = np.where(touched, np.where(full, limit, np.where(left, poured, 0.0)), p)
    return result


def with_control(share: np.ndarray, control: int, protect: str, floor: float, feasible: np.ndarray) -> np.ndarray:
    """Probabilities in which a control's is protected; where the control is not feasible, the shares with their floor.

    Parameters
    ----------
    share : array, shape (m, option)
        Of the experimental options; sums to 1 among them.
    control : int
    protect : {"sqrt-K", "matched"}
        With K experimental options, "sqrt-K" gives the control sqrt(K) times their average, which is 1 / (1 + sqrt(K)) (Dunnett 1955); "matched"
        gives it as much as the experimental option with the most.
    floor : float
        Affine, for all options.
    feasible : array of bool, shape (m, option)

    Returns
    -------
    array, shape (m, option)
    """
    experimental = feasible.copy()
    experimental[:, control] = False
    count = experimental.sum(axis=1, keepdims=True)
    here = feasible[:, [control]] & (count > 0)
    alone = feasible[:, [control]] & (count == 0)
    shares = np.where(experimental, share, 0.0)
    is_control = np.arange(share.shape[1]) == control
    if protect == "sqrt-K":
        own = 1 / (1 + np.sqrt(count))
        guarded = np.where(is_control, own, affine_floor(shares, floor, experimental, 1 - own))
    else:
        most = shares.max(axis=1, keepdims=True, initial=0.0)
        guarded = affine_floor(np.where(is_control, most, shares) / (1 + most), floor, feasible)
    return np.where(here, guarded, np.where(alone, is_control * 1.0, affine_floor(normalized(shares, experimental), floor, experimental)))
