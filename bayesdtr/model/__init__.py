"""PyMC models of responses, one structure a file, and their compilation to JAX."""

from .compile import CompiledResponse, compile_response
from .evaluate import evaluate, evaluate_paired
from .history import History
from .inputs import make_inputs
from .mixture import Mixture, Predictor, look, look_paired, spread_over

__all__ = [
    "CompiledResponse", "History", "Mixture", "Predictor", "compile_response", "evaluate", "evaluate_paired", "look", "look_paired", "make_inputs",
    "spread_over",
]
