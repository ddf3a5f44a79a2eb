"""Limits to what may be recommended: safety gates, budgets, subgroups."""
