"""What simulated trials leave behind: arrays with named dims, the same from every engine.

`FIELDS` is the contract between those who simulate (the patient-level course, the count engine), those who keep
(the store) and those who read (operating characteristics, calibration, replay). The leading axis of every
array is the replicate.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .layout import Layout

Records = Mapping[str, np.ndarray]

REPLICATE, LOOK, REGIME, ARM, RULE, RESPONSE, PATIENT, DECISION = (
    "replicate", "look", "regime", "arm", "rule", "response", "patient", "decision")


class Field(NamedTuple):
    """One array of the records.

    Attributes
    ----------
    dims : tuple of str
        After the replicate.
    dtype : str
    keep : {"summary", "looks", "patients"}
        The least detail at which it is kept.
    meaning : str
    """

    dims: tuple[str, ...]
    dtype: str
    keep: str
    meaning: str


KEEP = ("summary", "looks", "patients")

FIELDS: dict[str, Field] = {
    # How it ended. "At the decision" is the look at which a rule fired, or the final analysis where none did; "final" has all outcomes, overrun
    # included.
    "stopped_by": Field((), "int16", "summary", "index of the stopping rule that fired; -1: none did"),
    "stopped_at": Field((), "int16", "summary", "look at which it fired, from 0; the last look where none did"),
    "size": Field((), "int32", "summary", "patients recruited by the decision, those with outcomes pending included"),
    "known": Field((), "int32", "summary", "patients with follow-up complete at the decision"),
    "duration": Field((), "float64", "summary", "calendar time of the decision"),
    "follow_up": Field((), "float64", "summary", "calendar time at which the last outcome was known"),
    "selected": Field((), "int16", "summary", "regime with the largest posterior mean among the active, at the decision"),
    "selected_final": Field((), "int16", "summary", "the same in the final analysis"),
    "declared": Field((REGIME,), "bool", "summary", "regimes declared superior at the decision"),
    "p_best_decision": Field((REGIME,), "float64", "summary", "P(best) among the active at the decision"),
    "mean_decision": Field((REGIME,), "float64", "summary", "posterior mean of the value at the decision"),
    "sd_decision": Field((REGIME,), "float64", "summary", "posterior SD of the value at the decision"),
    "p_best": Field((REGIME,), "float64", "summary", "P(best) among all regimes in the final analysis"),
    "mean": Field((REGIME,), "float64", "summary", "posterior mean in the final analysis"),
    "sd": Field((REGIME,), "float64", "summary", "posterior SD in the final analysis"),
    "lower": Field((REGIME,), "float64", "summary", "2.5 % point of the posterior in the final analysis"),
    "upper": Field((REGIME,), "float64", "summary", "97.5 % point"),
    # What happened to patients.
    "active": Field((ARM,), "bool", "summary", "arms still open at the decision"),
    "allocated": Field((ARM,), "int32", "summary", "patients assigned to each arm, pipeline patients included"),
    "followed": Field((REGIME,), "int32", "summary", "patients whose assigned course agrees with each regime"),
    "utility": Field((), "float64", "summary", "sum of the utilities of patients followed to the end"),
    "completed": Field((), "int32", "summary", "patients followed to the end"),
    "total": Field((RESPONSE,), "float64", "summary", "sum of each response over patients"),
    "observed": Field((RESPONSE,), "int32", "summary", "patients in whom each response was observed"),
    # For calibration: a rule fires where its statistic exceeds its level.
    "path_max": Field((RULE,), "float64", "summary", "largest statistic over the looks at which the rule applied; -inf if at none"),
    # Of the looks that were refitted with NUTS, where the design audits its engine.
    "audited": Field((), "int16", "summary", "looks refitted"),
    "audit_difference": Field((), "float64", "summary", "largest difference in a regime's P(best) at these looks; NaN without any"),
    "audit_noise": Field((), "float64", "summary", "Monte Carlo error of a difference, the largest at these looks"),
    "audit_disagreements": Field((), "int16", "summary", "looks at which another regime is ahead by more than Monte Carlo noise"),
    # Look by look; NaN, -1 or False after the decision.
    "time": Field((LOOK,), "float64", "looks", "calendar time"),
    "recruited": Field((LOOK,), "int32", "looks", "patients recruited"),
    "known_look": Field((LOOK,), "int32", "looks", "patients with follow-up complete"),
    "statistic": Field((LOOK, RULE), "float64", "looks", "statistic of each rule; NaN where it did not apply"),
    "p_best_look": Field((LOOK, REGIME), "float64", "looks", "P(best) among the active, after dropping"),
    "p_best_error": Field((LOOK, REGIME), "float64", "looks", "its Monte Carlo error; 0 by quadrature"),
    "mean_look": Field((LOOK, REGIME), "float64", "looks", "posterior mean"),
    "sd_look": Field((LOOK, REGIME), "float64", "looks", "posterior SD"),
    "active_look": Field((LOOK, ARM), "bool", "looks", "arms open after the look"),
    "probability_look": Field((LOOK, ARM), "float64", "looks", "allocation probability from the look on, averaged over the patients it was used for"),
    # Patient by patient; NaN or -1 where it never came to be.
    "enrolled_at": Field((PATIENT,), "float64", "patients", "calendar time of enrolment"),
    "option": Field((PATIENT, DECISION), "int16", "patients", "code of the option assigned"),
    "probability": Field((PATIENT, DECISION), "float64", "patients", "probability with which it was assigned"),
    "look_in_force": Field((PATIENT, DECISION), "int16", "patients", "look whose probabilities were used; -1: burn-in or before the first"),
    "outcome": Field((PATIENT, RESPONSE), "float64", "patients", "responses, codes where labelled"),
}


def shape(field: str, layout: Layout, replicates: int) -> tuple[int, ...]:
    """Shape of an array of the records."""
    sizes = {LOOK: layout.looks, REGIME: len(layout.regimes), ARM: len(layout.arms), RULE: len(layout.rules), RESPONSE: len(layout.responses),
             PATIENT: layout.size, DECISION: len(layout.decisions)}
    return (replicates, *(sizes[d] for d in FIELDS[field].dims))


def kept(keep: str) -> tuple[str, ...]:
    """Names of the arrays kept at a level of detail."""
    return tuple(n for n, f in FIELDS.items() if KEEP.index(f.keep) <= KEEP.index(keep))


def blank(layout: Layout, replicates: int, keep: str) -> dict[str, np.ndarray]:
    """Arrays with nothing in them yet: NaN, -1, False; counts and sums 0."""
    made = {}
    for name in kept(keep):
        kind = FIELDS[name].dtype
        empty = np.nan if kind == "float64" else -1 if name in ("stopped_by", "stopped_at", "selected", "selected_final", "option", "look_in_force",
                                                               "recruited", "known_look") else 0
        made[name] = np.full(shape(name, layout, replicates), empty, dtype=kind)
    made["path_max"][:] = -np.inf
    for name in ("utility", "total"):
        made[name][:] = 0
    return made
