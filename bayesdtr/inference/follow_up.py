"""Replicated times as they would have been seen: censored at the follow-up of the patients whom they replicate."""

import zlib

import numpy as np

from ..data import Trajectories


def kaplan_meier(time: np.ndarray, event: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Kaplan-Meier estimate of survival beyond each point of a grid, shape (grid,); events come before censorings at one time."""
    order = np.argsort(time, kind="stable")
    ordered, happened = time[order], event[order].astype(float)
    moments, first = np.unique(ordered, return_index=True)
    died = np.add.reduceat(happened, first) if len(time) else np.zeros(0)
    at_risk = len(time) - first
    curve = np.concatenate([[1.0], np.cumprod(1 - died / np.maximum(at_risk, 1))])
    return curve[np.searchsorted(moments, grid, side="right")]


def follow_up(time: np.ndarray, censored: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """When each patient would have been censored.

    A censored patient's time is known. That of a patient with an event is drawn from the Kaplan-Meier
    distribution of censoring among those censored later; infinite where that leaves probability over.

    Parameters
    ----------
    time, censored : array, shape (patient,)
    size : int
        Replicates.
    rng : numpy.random.Generator

    Returns
    -------
    array, shape (replicate, patient)
    """
    ends = np.unique(time[censored])
    beyond = kaplan_meier(time, censored, ends)  # probability of being censored after each
    before = np.concatenate([[1.0], beyond])
    start = before[np.searchsorted(ends, time, side="right")]  # probability of being censored after the own time
    target = start * rng.random((size, len(time)))  # the draw is the first end beyond which less than this is left
    index = np.searchsorted(-beyond, -target, side="left")
    drawn = np.append(ends, np.inf)[index]
    return np.where(censored, time, drawn)


def as_seen(trajectories: Trajectories, name: str, replicated: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Replicated times cut off at the follow-up.

    Parameters
    ----------
    trajectories : Trajectories
    name : str
        A survival response.
    replicated : array, shape (replicate, patient)
        Times without censoring; only patients of whom the response is observed are read.

    Returns
    -------
    times, events : array, shape (replicate, patient)
    """
    seen = trajectories.observed(name)
    time, censored = trajectories.history([name], seen)[name], trajectories.censored(name)[seen]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 9])
    ends = np.full(replicated.shape, np.inf)
    ends[:, seen] = follow_up(time, censored, len(replicated), rng)
    return np.minimum(replicated, ends), replicated <= ends
