"""One plot a file; each draws a matplotlib Figure and has a twin ``*_data`` that returns the numbers as a pandas frame."""

from .acceptability import acceptability, acceptability_data
from .calibration import calibration, calibration_data
from .embedded import embedded, embedded_data
from .evsi import evsi, evsi_data
from .explanation import explanation, explanation_data
from .operating import operating, operating_data
from .options import options, options_data
from .paths import paths, paths_data
from .predictive import predictive, predictive_data
from .prior_predictive import prior_predictive, prior_predictive_data
from .priors import priors, priors_data
from .regime_tree import regime_tree, regime_tree_data
from .sizing import sizing, sizing_data
from .timeline import timeline, timeline_data

__all__ = [
    "acceptability", "acceptability_data", "calibration", "calibration_data", "embedded", "embedded_data", "evsi", "evsi_data", "explanation",
    "explanation_data", "operating", "operating_data", "options", "options_data", "paths", "paths_data", "predictive", "predictive_data",
    "prior_predictive", "prior_predictive_data", "priors", "priors_data", "regime_tree", "regime_tree_data", "sizing", "sizing_data", "timeline",
    "timeline_data",
]
