"""PyMC models of responses, one structure a file, and their compilation to JAX."""

from .compile import CompiledResponse, compile_response
from .evaluate import evaluate, evaluate_paired
from .history import History
from .inputs import make_inputs

__all__ = ["CompiledResponse", "History", "compile_response", "evaluate", "evaluate_paired", "make_inputs"]
