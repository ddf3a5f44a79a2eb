"""What it all says of a design: operating characteristics, calibrated thresholds, sizes."""

from .operating import Characteristic, OperatingCharacteristics

__all__ = ["Characteristic", "OperatingCharacteristics"]
