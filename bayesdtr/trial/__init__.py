"""TRY IT: adaptive trials, declared once, simulated by the ten thousand, calibrated, sized, replayed."""
