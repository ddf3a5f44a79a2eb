"""What may be missing, and the models of covariates that are: each regressed on the covariates before it.

A model of a covariate is the default model of a response in a small study of its own, so that its
families, priors and their printing are those of every response.
"""

import functools

from .families import Family
from .predictor import default_predictor
from .priors import PriorInForce
from .study import Study
from .timeline import Baseline, Decision, Response
from .utility import Utility

INTAKE = "(intake)"
"""The one decision, without a choice, of a covariate's study."""


def modelled(study: Study) -> tuple[Baseline, ...]:
    """The covariates that the data may lack, in the order of declaration."""
    return tuple(b for b in study.baselines if b.missing is not None)


@functools.lru_cache(maxsize=128)
def covariate_study(study: Study, name: str) -> Study:
    """The study whose only response is a covariate that the data may lack.

    The covariates are factored in the order of declaration, those that are always observed first:
    each is regressed on all of the latter and on those before it. The joint law of what is missing
    is the product of these regressions.

    Parameters
    ----------
    study : Study
    name : str
        A covariate declared with ``missing=``.
    """
    order = [*(b for b in study.baselines if b.missing is None), *modelled(study)]
    names = [b.name for b in order]
    node = order[names.index(name)]
    assert isinstance(node.missing, Family)
    earlier = [Baseline(b.name, levels=b.levels) for b in order[: names.index(name)]]
    levels = node.missing.levels
    worth = Utility(name) if levels is None else Utility({name: {level: float(i) for i, level in enumerate(levels)}})  # never looked at
    declared = {n: s for n, s in study.scales if n in names[: names.index(name) + 1] and (n != name or node.missing.support is None)}
    timeline = (*earlier, Decision(INTAKE, [INTAKE]), Response(name, node.missing))
    return Study(*timeline, utility=worth, cluster=study.cluster, id=study.id, scales=declared)


def covariate_priors(study: Study, name: str) -> dict[str, PriorInForce]:
    """The priors in force of a covariate's model, by address: those of terms that it has."""
    own = covariate_study(study, name)
    response = own[name]
    assert isinstance(response, Response)
    absent = {"tau", "tau_interaction", "cluster_treatment_sd"}
    if not default_predictor(own, response).main:
        absent.add("beta")
    return {a: row for a, row in own.priors(name).items() if a.removeprefix("zero_") not in absent}
