"""What must hold of a declared study; each check raises a StudyError that names what does not."""

from typing import TYPE_CHECKING

from ..errors import StudyError, did_you_mean, listing
from .conditions import check_condition
from .families import Bernoulli, Normal
from .models import Hierarchical, Saturated, UserModel
from .partition import check_partition
from .saturated import saturated_variables
from .sensitive import refuse_sensitive
from .survival import Survival
from .timeline import Baseline, Decision, Response, finite_values
from .utility import Utility

if TYPE_CHECKING:
    from .study import Study


def check_order(study: "Study") -> None:
    """Names, kinds and their order in time."""
    for node in study.timeline:
        if not isinstance(node, (Baseline, Decision, Response)):
            raise StudyError(f"Study takes Baseline, Decision and Response in time order, got {node!r}.")
    names = [node.name for node in (*study.audited, *study.timeline)]
    if repeated := [n for i, n in enumerate(names) if n in names[:i]]:
        raise StudyError(f"Study: the name {repeated[0]!r} is used twice.")
    for role, column in (("cluster", study.cluster), ("id", study.id)):
        if column is not None and (not isinstance(column, str) or not column.strip() or column in names):
            raise StudyError(f"Study: {role}={column!r} must name a column that is not part of the timeline.")
    for response in study.responses:
        for role, column, _ in response.columns:
            if column in names:
                raise StudyError(f"Response {response.name!r}: {role}={column!r} must name a column that is not part of the timeline.")
    if study.cluster is not None and study.cluster == study.id:
        raise StudyError(f"Study: cluster and id name the same column {study.id!r}.")
    for event, sentence in study.estimand:
        if not isinstance(event, str) or not isinstance(sentence, str):
            raise StudyError(f"Study: estimand is a mapping of intercurrent events to sentences, got {event!r}: {sentence!r}.")
    if not study.decisions:
        raise StudyError("Study: at least one Decision is needed.")
    kinds = [type(node) for node in study.timeline]
    first = kinds.index(Decision)
    for node in study.timeline[:first]:
        if isinstance(node, Response):
            raise StudyError(f"Study: {node.name!r} comes before the first decision, so it is a Baseline, not a Response.")
    for node in study.timeline[first:]:
        if isinstance(node, Baseline):
            raise StudyError(f"Study: baseline {node.name!r} comes after a decision; move it to the front or declare it as a Response.")
    for decision in study.decisions:
        if not study.after(decision.name):
            raise StudyError(f"Study: no Response follows decision {decision.name!r} before the next one; nothing could be learned about it.")


def check_utility(study: "Study") -> None:
    """The utility fits the study and looks beyond the last decision."""
    if not isinstance(study.utility, Utility):
        raise StudyError(f"Study: utility is a Utility or the name of a response, got {study.utility!r}.")
    study.utility.check(study)
    last = study.decisions[-1].name
    plain = study.linear
    if not any(plain.weight(r.name) or plain.pays(r.name) or plain.lives(r.name) for r in study.after(last)):
        raise StudyError(
            f"Utility does not depend on anything observed after the last decision {last!r}; drop that decision or weigh a later response."
        )


def check_decision(study: "Study", decision: Decision) -> None:
    """A decision's conditions, tailoring variables and assignment."""
    where = f"Decision {decision.name!r}"
    if decision is study.decisions[0] and () in decision.sets:
        raise StudyError(f"{where}: a course cannot end before the first decision; leave patients without options out of the study.")
    taken = (*study.names, *(b.name for b in study.audited))
    if isinstance(decision.probability, str) and (not decision.probability.strip() or decision.probability in taken):
        raise StudyError(f"{where}: probability={decision.probability!r} must name a column that is not part of the timeline.")
    known = {n.name: finite_values(n) for n in study.before(decision.name)}
    refuse_sensitive(study, [v for c, _ in decision.choices for v in c.variables], f"{where}: a condition")
    refuse_sensitive(study, decision.tailoring or (), f"{where}: tailoring")
    for condition, _ in decision.choices:
        check_condition(condition, known, where)
    for name in decision.tailoring or ():
        if name not in known:
            raise StudyError(f"{where}: tailoring names {name!r}; observed before it: {listing(known) or 'nothing'}{did_you_mean(name, known)}")
        if known[name] is None:
            raise StudyError(f"{where}: tailoring variable {name!r} is continuous; let the decision's conditions cut it with at_least() or below().")
    check_partition(study, decision)


def check_response(study: "Study", response: Response) -> None:
    """A response's family and model go together."""
    study.priors(response.name)  # raises on an unknown address
    if isinstance(response.family, Survival):
        known = {n.name: finite_values(n) for n in study.before(response.name)}
        refuse_sensitive(study, response.family.by, f"Response {response.name!r}: by")
        for name in response.family.by:
            if known.get(name) is None:
                raise StudyError(
                    f"Response {response.name!r}: by names {name!r}; variables with a finite list of values before it: "
                    f"{listing(n for n, v in known.items() if v)}{did_you_mean(name, known)}"
                )
    if isinstance(response.model, Saturated):
        if not isinstance(response.family, (Bernoulli, Normal)):
            raise StudyError(
                f"Response {response.name!r}: Saturated() cells are for Bernoulli() and Normal() responses, got {response.family!r}; "
                "leave model= out for the hierarchical model."
            )
        names = saturated_variables(study, response)  # raises on a continuous cell variable
        if periods := [b.name for b in study.baselines if b.drift and b.name in names]:
            raise StudyError(
                f"Response {response.name!r}: Saturated() cells would cut every cell by {periods[0]!r}, whose levels drift; leave model= out, or "
                "name the variables of the cells: Saturated(over=[...])."
            )
        if response.model.conjugate is not None and response.family is not None and response.family.link != "identity":
            raise StudyError(f"Response {response.name!r}: conjugate= belongs to a Normal response; a Bernoulli one uses its Beta prior.")
    elif isinstance(response.model, UserModel) and isinstance(response.family, Survival):
        raise StudyError(
            f"Response {response.name!r}: a user-written model knows nothing of censoring; leave model= out for the built-in survival model, "
            "or the family out where every time is observed."
        )
    elif isinstance(response.model, Hierarchical) and response.family is None:
        raise StudyError(f"Response {response.name!r} needs a family.")
