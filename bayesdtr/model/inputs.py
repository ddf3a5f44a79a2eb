"""From columns of histories to the inputs of a compiled response."""

from collections.abc import Mapping

import numpy as np

from ..schema import NOT_YET
from ..study.study import Scale
from .compile import CompiledResponse
from .names import CLUSTER_INPUT, location_input, sd_input


def make_inputs(
    compiled: CompiledResponse, history: Mapping[str, np.ndarray], cluster: np.ndarray | None, scales: Mapping[str, Scale],
    extras: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Inputs of a compiled response for given histories.

    Parameters
    ----------
    compiled : CompiledResponse
    history : mapping of str to array, shape (n,)
        Columns of every variable before the response. What is not observed (NaN, or a code of -1)
        is filled with zero: such a row must carry weight 0 or not be read.
    cluster : array of int, shape (n,), or None
    scales : mapping of str to Scale
    extras : mapping of str to array, shape (n,), optional
        Further columns of the responses; those absent take the value of a patient to come.

    Returns
    -------
    dict of str to array
    """
    inputs: dict[str, np.ndarray] = {}
    for name in compiled.history:
        column = np.asarray(history[name])
        inputs[name] = np.where(column == NOT_YET, 0, column) if column.dtype.kind == "i" else np.nan_to_num(column, nan=0.0)
    if CLUSTER_INPUT in compiled.inputs:
        assert cluster is not None
        inputs[CLUSTER_INPUT] = np.asarray(cluster)
    for name, default in compiled.extras.items():
        given = (extras or {}).get(name)
        inputs[name] = np.full(np.shape(inputs[compiled.history[0]]), default) if given is None else np.asarray(given)
    for name, scale in scales.items():
        if location_input(name) in compiled.inputs:
            inputs[location_input(name)] = np.asarray(scale.location, dtype=float)
            inputs[sd_input(name)] = np.asarray(scale.sd, dtype=float)
    return {name: inputs[name] for name in compiled.inputs}
