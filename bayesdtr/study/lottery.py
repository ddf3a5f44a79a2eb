"""`Lottery`: an option drawn by chance, in place of an option that is named, in a regime written by a person."""

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import StudyError
from .timeline import Options

ROUNDING = 1e-9
"""How far probabilities may add up from 1."""


@dataclass(frozen=True, init=False)
class Lottery:
    """An option drawn by chance for each patient, wherever a written regime names an option.

    Parameters
    ----------
    chances : mapping of str to float
        Probability of each option, above 0, adding up to 1. Every option must be feasible where the lottery is drawn.

    Raises
    ------
    StudyError
        For a probability that is none, or probabilities that do not add up to 1.

    Notes
    -----
    The draw is independent of everything but the history that the regime looks at, so the value of a lottery is
    ``sum_a p(a) Q(h, a)`` at a history h: an average of the options' values, never above the best of them.

    Examples
    --------
    >>> Lottery({"medication": 0.7, "therapy": 0.3})
    """

    chances: tuple[tuple[str, float], ...]

    def __init__(self, chances: Mapping[str, float]):
        if not isinstance(chances, Mapping) or not chances:
            raise StudyError(f"Lottery takes a mapping of options to probabilities, such as {{'medication': 0.7, 'therapy': 0.3}}, got {chances!r}.")
        for option, p in chances.items():
            if not isinstance(option, str):
                raise StudyError(f"Lottery: options are labels, got {option!r}.")
            if isinstance(p, bool) or not isinstance(p, numbers.Real) or not (math.isfinite(p) and 0 < p <= 1):
                raise StudyError(f"Lottery: the probability of {option!r} must lie in (0, 1], got {p!r}; leave out what is never drawn.")
        if abs((total := math.fsum(chances.values())) - 1) > ROUNDING:
            raise StudyError(f"Lottery: the probabilities of {', '.join(map(repr, chances))} add up to {total:.10g}, not 1.")
        object.__setattr__(self, "chances", tuple((o, float(p)) for o, p in chances.items()))

    @property
    def options(self) -> Options:
        """The options that can be drawn."""
        return tuple(o for o, _ in self.chances)

    def among(self, options: Options) -> np.ndarray:
        """Probability of each of a decision's options, shape (option,)."""
        table = dict(self.chances)
        p = np.array([table.get(o, 0.0) for o in options])
        return p / p.sum()

    def __str__(self) -> str:
        return " or ".join(f"{o} {100 * p:.4g}%" for o, p in self.chances)
