"""PyMC models of responses, one structure a file, and their compilation to JAX."""

from .compile import CompiledResponse, compile_response, given_effect, joint_of
from .evaluate import evaluate, evaluate_paired
from .inputs import make_inputs
from .linked import JointResponses, LinkedResponse, joint_input
from .mixture import Mixture, Predictor, look, look_paired, spread_over

__all__ = [
    "CompiledResponse", "JointResponses", "LinkedResponse", "Mixture", "Predictor", "compile_response", "evaluate", "evaluate_paired",
    "given_effect", "joint_input", "joint_of", "look", "look_paired", "make_inputs", "spread_over",
]
