"""How patients are assigned: rules as declarations, and their probabilities as pure functions."""

from .blocks import BlockLists, Blocks
from .rule import AllocationRule, Situation
from .simple import Equal, Fixed, PermutedBlock, Stratified
from .thompson import Thompson

__all__ = ["AllocationRule", "BlockLists", "Blocks", "Equal", "Fixed", "PermutedBlock", "Situation", "Stratified", "Thompson"]
