"""What the options of `Hierarchical` add to a response's model: which prior of the interactions, and the addresses of new priors."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import StudyError, did_you_mean, listing
from .models import Hierarchical, Saturated
from .predictor import default_predictor, groups, sequence_variables
from .priors import ON_THE_LINE, POSITIVE, UNIT_INTERVAL, Address, Prior
from .timeline import Decision, Response

if TYPE_CHECKING:
    from .study import Study

SHARES = "share_interaction"
PURE = ("local_interaction", "slab_interaction", "r2_interaction", SHARES, "smooth_length", "interaction_smooth_length")
"""Addresses whose numbers have no unit."""
MOST_NORMAL = 8
"""Variables that decisions interact with up to which ``interactions="auto"`` is Normal."""


def interactions_of(study: "Study", response: Response) -> str:
    """Prior of a response's interactions: ``normal``, ``horseshoe`` or ``r2d2``."""
    model = response.model
    assert isinstance(model, Hierarchical)
    if model.interactions != "auto":
        return model.interactions
    partners = {f.source for c in default_predictor(study, response).interaction for f in c.factors[1:]}
    return "normal" if len(partners) <= MOST_NORMAL else "horseshoe"


def pseudo_sd(link: str) -> float:
    """Residual SD of one observation in units of the predictor: 2 for a logit, 1 in SD units and for a log."""
    return 2.0 if link == "logit" else 1.0


def _shrinkage(study: "Study", response: Response, link: str, prefix: str) -> list[Address]:
    """Addresses of a sparse prior of the interactions."""
    model = response.model
    assert isinstance(model, Hierarchical)
    sd = link == "identity"
    if interactions_of(study, response) == "r2d2":
        return [
            Address(prefix + "r2_interaction", UNIT_INTERVAL, Prior("Beta", concentration1=1, concentration0=4),
                    "share of variance that all interactions explain: mean .2, precision 5"),
            Address(prefix + "share_interaction", ("Dirichlet",), Prior("Dirichlet", concentration=0.5),
                    "how that share is divided among interactions: a few take most of it"),
        ]
    number = len(groups(default_predictor(study, response).interaction)[0])
    if number and model.relevant >= number:
        raise StudyError(
            f"Response {response.name!r}: Hierarchical(relevant={model.relevant:g}) must be below its number of interactions, {number}; "
            "with so few of them use interactions='normal'."
        )
    scale = model.relevant / max(number - model.relevant, 1) * pseudo_sd(link) / math.sqrt(model.patients)
    return [
        Address(prefix + "tau_interaction", POSITIVE, Prior("HalfCauchy", scale=scale),
                f"horseshoe: {model.relevant:g} of {number} interactions expected to matter, {model.patients} patients planned", sd),
        Address(prefix + "local_interaction", POSITIVE, Prior("HalfCauchy", scale=1), "horseshoe: lets single interactions escape the common scale"),
        Address(prefix + "slab_interaction", POSITIVE, Prior("InverseGamma", concentration=2, rate=2),
                "horseshoe: square of the largest plausible scale, in units" + (" of the SD" if sd else "") + "; a slab like Student t with 4 df"),
    ]


def _smooth(prefix: str, sd: bool, which: str) -> list[Address]:
    main = which == "smooth"
    scale = 0.5 if main else 0.25
    what = "smooth curves around their linear trends" if main else "differences between options' curves around their linear trends"
    return [
        Address(f"{prefix}{which}_sd", POSITIVE, Prior("HalfNormal", scale=scale), f"spread of {what}", sd),
        Address(f"{prefix}{which}_length", POSITIVE, Prior("InverseGamma", concentration=9, rate=9),
                "length scale in SDs of the covariate: between .5 and 2 with probability .95"),
    ]


def _named(study: "Study", names: Sequence[str], what: str) -> list[Response]:
    """The responses that a list names, in time order.

    Raises
    ------
    StudyError
        For no list, a name that is no response, or a single one; for an early response whose further columns are unknown to a decision.
    """
    if isinstance(names, str):
        raise StudyError(f"Study: {what}={names!r} needs a list of responses, at least two.")
    known = [r.name for r in study.responses]
    for name in names:
        if name not in known:
            raise StudyError(f"Study: {what} names {name!r}; responses: {listing(known)}{did_you_mean(name, known)}")
    if len(set(names)) == 1:
        raise StudyError(f"Study: {what} names {names[0]!r} alone; it is shared by two responses or more.")
    found = [r for r in study.responses if r.name in names]
    for response in found[:-1]:
        if response.columns:
            raise StudyError(
                f"Study: {what} names {response.name!r}, which is read with further columns ({listing(c for _, c, _ in response.columns)}); "
                "what such a response says about a patient cannot be used at a later decision yet, so only the last one named may have them."
            )
    return found


def check_patient_effects(study: "Study", names: Sequence[str]) -> tuple[str, ...]:
    """The responses that share a patient's effect, in time order.

    Raises
    ------
    StudyError
        For a name that is no response, a single one, or a model that has no place for the effect.
    """
    found = _named(study, names, "patient_effects")
    for response in found:
        if isinstance(response.model, Saturated):
            raise StudyError(f"Response {response.name!r}: Saturated() cells have no place for a patient's effect; leave model= out.")
        if response.family is not None and response.family.width:
            raise StudyError(f"Response {response.name!r}: a patient's effect cannot be shared by a {response.family.name} response.")
    return tuple(r.name for r in found)


def check_pool_stages(study: "Study", names: Sequence[str]) -> tuple[str, ...]:
    """The responses whose latest decisions are pooled, in time order.

    Raises
    ------
    StudyError
        For a name that is no response, a single one, another model than the hierarchical, or unlike families or options.
    """
    pooled = _named(study, names, "pool_stages")
    for response in pooled:
        if not isinstance(response.model, Hierarchical) or response.family is None or response.family.width:
            raise StudyError(f"Response {response.name!r}: pool_stages needs the hierarchical model with one predictor.")
        first, sets = pooled[0], _latest(study, response).sets
        if response.family != first.family or sets != _latest(study, first).sets:
            raise StudyError(
                f"Study: pool_stages needs one outcome after decisions between the same options; {first.name!r} is {first.family!r} after "
                f"{listing(_latest(study, first).sets)}, {response.name!r} is {response.family!r} after {listing(sets)}."
            )
        if len({_latest(study, r).name for r in pooled}) < len(pooled):
            raise StudyError("Study: pool_stages names two responses after the same decision; it pools stages, one response each.")
    return tuple(r.name for r in pooled)


def _latest(study: "Study", response: Response) -> Decision:
    return [n for n in study.before(response.name) if isinstance(n, Decision)][-1]


def _patient_effect(study: "Study", response: Response, sd: bool) -> list[Address]:
    """Addresses of the loadings of a patient's effect; the first response's is positive, which fixes the effect's sign."""
    first = study.patient_effects[0] == response.name
    law = Prior("HalfNormal", scale=0.5) if first else Prior("Normal", loc=0, scale=0.5)
    return [
        Address("patient_effect", POSITIVE if first else ON_THE_LINE, law,
                "change of the level for a patient one SD above the mean of the shared effect", sd),
        Address("patient_effect_treatment", ON_THE_LINE, Prior("Normal", loc=0, scale=0.25),
                "change of the latest decision's contrasts for such a patient", sd),
    ]


def structured(study: "Study", response: Response, table: dict[str, Address]) -> dict[str, Address]:
    """Addresses of a hierarchical model with all its options, from those without them.

    Parameters
    ----------
    study : Study
    response : Response
    table : dict of str to Address

    Returns
    -------
    dict of str to Address
        In printing order: what an option adds stands where it belongs.

    Raises
    ------
    StudyError
        When a formula or the horseshoe's numbers do not suit the study.
    """
    model, family = response.model, response.family
    if not isinstance(model, Hierarchical) or family is None:
        return table
    predictor = default_predictor(study, response)
    parts = [("", family.link)] + ([("zero_", "logit")] if family.zero_part else [])
    for prefix, link in parts:
        sd, added = link == "identity", []
        if interactions_of(study, response) != "normal":
            added += _shrinkage(study, response, link, prefix) if predictor.interaction else []
        else:
            added += [table[prefix + "tau_interaction"]] if predictor.interaction else []
        if predictor.combination:
            added.append(Address(prefix + "tau_combination", POSITIVE, Prior("HalfNormal", scale=1),
                                 "scale of interactions between decisions: what one does may hinge on another as much as on itself", sd))
        if predictor.smooth:
            added += _smooth(prefix, sd, "smooth")
        if predictor.interaction_smooth:
            added += _smooth(prefix, sd, "interaction_smooth")
        if predictor.drift:
            added.append(Address(prefix + "drift", ON_THE_LINE, Prior("Normal", loc=0, scale=2.5),
                                 "step of the level from one period to the next, alike for all options: wide, for what it holds back is put "
                                 "down to treatment where shares changed with the periods", sd))
        if model.sequences:
            sequence_variables(study, response)
            added.append(Address(prefix + "tau_sequence", POSITIVE, Prior("HalfNormal", scale=0.25),
                                 "scale of the sequences' own effects: smaller than those of single decisions", sd))
        rows: list[Address] = []
        for name, row in table.items():
            rows += added if name == prefix + "tau_interaction" else [row]
        if not prefix and response.name in study.pool_stages[:1]:
            row = Address("tau_pooled", POSITIVE, Prior("HalfNormal", scale=0.5),
                          "scale of the contrasts common to pooled stages; tau is that of a stage's own deviations from them", sd)
            rows.insert([r.name for r in rows].index("tau") + 1, row)
        if not prefix and response.name in study.patient_effects:
            place = [r.name for r in rows].index("tau") + 1 + len(added)
            rows[place:place] = _patient_effect(study, response, sd)
        table = {row.name: row for row in rows}
    return table
