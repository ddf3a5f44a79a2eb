"""Names that a model's builder and its users share: of inputs, and of what pooled stages have in common."""

from ..schema import variable
from ..study.study import Study
from ..study.timeline import Response, finite_values

CLUSTER_INPUT = "cluster::code"
"""Codes of the patients' clusters."""

EFFECT_INPUT = "patient::effect"
"""The effect that a patient's responses share, standard Normal; integrated, so never data."""
POOLED_INPUT = "pooled::treatment"
"""The contrasts that pooled stages share, an input of all but the first of them."""
POOLED = "pooled_treatment"
"""The parameter, of the first pooled response in time, that holds these contrasts."""
POOLED_DIM = "pooled_contrast"
"""Its dim."""


def extra_input(response: str, role: str) -> str:
    """Name of the input that holds a further column of a response."""
    return variable(response, role)


def location_input(name: str) -> str:
    """Name of the input that holds a variable's location."""
    return f"{name}::location"


def sd_input(name: str) -> str:
    """Name of the input that holds a variable's SD."""
    return f"{name}::sd"


def input_names(study: Study, response: Response) -> tuple[str, ...]:
    """Names of a response's inputs: history columns, the clusters' codes, then scales."""
    names = [n.name for n in study.before(response.name)]
    if study.cluster:
        names.append(CLUSTER_INPUT)
    if response.name in study.patient_effects:
        names.append(EFFECT_INPUT)
    if response.name in study.pool_stages[1:]:
        names.append(POOLED_INPUT)
    names += [extra_input(response.name, role) for role, *_ in response.columns]
    for n in [*study.before(response.name), response]:
        if finite_values(n) is None:
            names += [location_input(n.name), sd_input(n.name)]
    return tuple(names)
