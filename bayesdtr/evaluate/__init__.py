"""Doubt it: what a learned rule achieves, judged by the assignment probabilities rather than by the model."""

from .honest import HonestValue, honest_value

__all__ = ["HonestValue", "honest_value"]
