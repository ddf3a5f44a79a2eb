"""Batches, stores, workers: the same numbers wherever they run."""
