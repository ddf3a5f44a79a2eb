"""What it all says of a design: operating characteristics, calibrated thresholds, sizes."""

from .calibration import Calibration, calibrate
from .drifting import DriftInflation, drift_inflation
from .operating import Characteristic, OperatingCharacteristics

__all__ = ["Calibration", "Characteristic", "DriftInflation", "OperatingCharacteristics", "calibrate", "drift_inflation"]
