"""How patients are assigned: rules as declarations, and their probabilities as pure functions."""

from .blocks import BlockLists, Blocks
from .null import NullStabilized
from .rule import AllocationRule, Situation
from .simple import Equal, Fixed, PermutedBlock, Stratified
from .smart_ar import SmartAR
from .thompson import Thompson
from .together import check_together
from .top_two import TopTwo

__all__ = ["AllocationRule", "BlockLists", "Blocks", "Equal", "Fixed", "NullStabilized", "PermutedBlock", "Situation", "SmartAR", "Stratified",
           "Thompson", "TopTwo", "check_together"]
