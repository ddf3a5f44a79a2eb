"""Patients with a known truth: one generator a file, each with its exact optimal value.

Every module has ``simulate(n, *, seed, policy=None)``, which returns a data frame, and ``truth()``,
whose policies can be handed back to `simulate`. A seed gives the same patients under every policy,
so differences between regimes are free of most of the noise.
"""

from . import (
    adhd,
    chakraborty,
    chemotherapy,
    codiacs_qol,
    declined_rerandomization,
    dropout,
    hypertension,
    nonlinear_two_stage,
    polle_two_stage,
    sepsis,
    transition_times,
)
from .common import KnownRegime, Policy, Rule, Truth, always, where

__all__ = [
    "KnownRegime", "Policy", "Rule", "Truth",
    "adhd", "always", "chakraborty", "chemotherapy", "codiacs_qol", "declined_rerandomization", "dropout", "hypertension", "nonlinear_two_stage",
    "polle_two_stage", "sepsis", "transition_times", "where",
]
