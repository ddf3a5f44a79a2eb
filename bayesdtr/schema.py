"""The one place that spells dimensions, group names, separators and the file version."""

SCHEMA_VERSION = 2
"""Version of the files written by this release; others are refused with a clear error. 2: interactions between decisions apart from others."""
SUMMARY_VERSION = 1
"""Version of ``summary.json``: counts breaks, not additions."""

FORMAT = "bayesdtr"
"""Value of the root attribute ``format`` by which one of our files is told from a foreign one."""

# Dimensions shared by every group.
CHAIN = "chain"
DRAW = "draw"
PATIENT = "patient"
CLUSTER = "cluster"
REGIME = "regime"

# Groups of the tree. Siblings, never nested: `az.*` reads flat groups only.
POSTERIOR = "posterior"
SAMPLE_STATS = "sample_stats"
TRAJECTORIES = "trajectories"
OBSERVED = "observed_data"
PREDICTIVE = "posterior_predictive"
VALUES = "regime_value"
IMPUTED = "imputed"
MISSING_SHIFT = "missing_shift"
DECISION = "decision"

NEW_CLUSTER = "(new)"
"""Label of the cluster that no patient belongs to: its effect keeps the population's distribution."""

SENSITIVE = "sensitive"
"""Role of a column that serves the audit only."""

NOT_YET = -1
"""Code of a decision that has not been made."""


def variable(response: str, parameter: str) -> str:
    """Name of a response's parameter in the flat posterior: ``improved::tau``."""
    return f"{response}::{parameter}"


def stored(response: str, parameter: str) -> str:
    """As :func:`variable`; a parameter of another response bears its full name already."""
    return parameter if "::" in parameter else variable(response, parameter)
