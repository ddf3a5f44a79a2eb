"""How probabilities become options: independent draws, or permuted blocks."""

import numpy as np

__all__ = ["drawn"]


def drawn(pi: np.ndarray, luck: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Options drawn by given uniform numbers, and the probabilities they were drawn with.

    Parameters
    ----------
    pi : array, shape (m, option)
        Rows sum to 1.
    luck : array, shape (m,)

    Returns
    -------
    option : array of int, shape (m,)
        The first whose cumulative probability exceeds the uniform number.
    chance : array, shape (m,)
    """
    option = (np.cumsum(pi, axis=1) <= luck[:, None]).sum(axis=1)
    # Rounding may leave the sum a hair below 1: never past the last possible option.
    last = pi.shape[1] - 1 - np.argmax(pi[:, ::-1] > 0, axis=1)
    option = np.minimum(option, last)
    return option, np.take_along_axis(pi, option[:, None], axis=1)[:, 0]
