"""The gallery: one worked study a file, imported as `bayesdtr.gallery`.

Every module declares a `study` and a zero-argument `patients()` and is made to be copied; the first
line of its docstring is its title. `bayesdtr run NAME` runs one.

* `codiacs`: two decisions, observational, saturated cells rebuilt from published facts.
* `adhd_smart`: two decisions, randomized, the default model, simulated children with a known truth.
* `stepped_care_hypertension`: three decisions opened by thresholds, simulated patients with a known truth.
"""
