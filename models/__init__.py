"""The gallery: one worked study a file, imported as `bayesdtr.gallery`.

Every module declares a `study` and a zero-argument `patients()` and is made to be copied; the first
line of its docstring is its title. `bayesdtr run NAME` runs one. Trials also declare a `design` and `scenarios`, which
`bayesdtr simulate NAME` simulates.

* `codiacs`: two decisions, observational, saturated cells rebuilt from published facts.
* `adhd_smart`: two decisions, randomized, the default model, simulated children with a known truth.
* `leukemia_survival`: two decisions, survival, a trial rebuilt in simulation.
* `three_arm_adaptive`: a trial with one decision that drops arms, stops and randomizes toward the best.
* `small_n_smart`: a trial of 90 patients with a rare disease, three drugs and a second one, exact.
* `activity_smart`: a trial with covariates and Thompson sampling at both decisions.
* `stepped_care_hypertension`: three decisions opened by thresholds, simulated patients with a known truth.
"""
