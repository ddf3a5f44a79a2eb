"""What the options of `Hierarchical` add to a response's model: which prior of the interactions, and the addresses of new priors."""

import math
from typing import TYPE_CHECKING

from ..errors import StudyError
from .models import Hierarchical
from .predictor import default_predictor, groups, sequence_variables
from .priors import POSITIVE, UNIT_INTERVAL, Address, Prior
from .timeline import Response

if TYPE_CHECKING:
    from .study import Study

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
            added += [table[prefix + "tau_interaction"]]
        if predictor.smooth:
            added += _smooth(prefix, sd, "smooth")
        if predictor.interaction_smooth:
            added += _smooth(prefix, sd, "interaction_smooth")
        if model.sequences:
            sequence_variables(study, response)
            added.append(Address(prefix + "tau_sequence", POSITIVE, Prior("HalfNormal", scale=0.25),
                                 "scale of the sequences' own effects: smaller than those of single decisions", sd))
        rows: list[Address] = []
        for name, row in table.items():
            rows += added if name == prefix + "tau_interaction" else [row]
        table = {row.name: row for row in rows}
    return table
