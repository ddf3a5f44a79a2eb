"""What it all says of a design: operating characteristics, calibrated thresholds, sizes."""

from .assured import Assurance, assurance
from .calibration import Calibration, calibrate
from .drifting import DriftInflation, drift_inflation
from .nulls import null_grid
from .operating import Characteristic, OperatingCharacteristics
from .sizing import SizeCheck, Sizing, power_curve, size_for

__all__ = [
    "Assurance", "Calibration", "Characteristic", "DriftInflation", "OperatingCharacteristics", "SizeCheck", "Sizing", "assurance", "calibrate",
    "drift_inflation", "null_grid", "power_curve", "size_for",
]
