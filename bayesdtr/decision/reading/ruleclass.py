"""The class of rules that a user names: shape, depth, what may be asked, how small a leaf may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DecisionError, did_you_mean, listing
from ...study.sensitive import refuse_sensitive
from ...study.study import Study
from ..regime import Regime

KINDS = ("tree", "list")
DEPTHS = (1, 2)
HISTORIES = ("random", "own")


@dataclass(frozen=True)
class Class:
    """The rules among which the best is looked for.

    Attributes
    ----------
    kind : str
    depth : int
    variables : tuple of (decision, names)
        What each decision's rule may ask about.
    least, cuts : int
        Patients in a leaf at least; cuts of a continuous variable at most.
    histories : str
        How patients come to later decisions.
    """

    kind: str
    depth: int
    variables: tuple[tuple[str, tuple[str, ...]], ...]
    least: int
    cuts: int
    histories: str

    def __str__(self) -> str:
        clauses = "one if-then clause" if self.depth == 1 else f"{self.depth} if-then clauses"
        shape = f"trees of depth {self.depth}" if self.kind == "tree" else f"lists of at most {clauses}"
        return f"{shape}, {self.least} patients in a leaf at least, {self.cuts} cuts of a number at most"


def class_of(
    regime: Any, depth: Any, kind: Any, variables: Any, without: Any, least: Any, cuts: Any, histories: Any, refits: Any
) -> Class:
    """The class asked for, checked."""
    if not isinstance(regime, Regime):
        raise DecisionError(f"policy_tree takes a Regime, what optimize returns, got {type(regime).__name__}.")
    for what, given, allowed in (("kind", kind, KINDS), ("histories", histories, HISTORIES)):
        if given not in allowed:
            raise DecisionError(f"policy_tree: no {what} {given!r}; allowed: {listing(allowed)}{did_you_mean(given, allowed)}")
    if isinstance(depth, bool) or depth not in DEPTHS:
        raise DecisionError(f"policy_tree: depth is 1 or 2, for which the search is exact and the rule can be read, got {depth!r}.")
    for name, value, floor in (("least", least, 0), ("cuts", cuts, 1), ("refits", refits, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < floor:
            raise DecisionError(f"policy_tree: {name} is a whole number of at least {floor}, got {value!r}.")
    if regime.safety is not None:
        raise DecisionError("policy_tree: the regime has safety gates, which look at every patient's whole history, and the leaves of a tree would "
                            "not; use regime.rules() for what it does, or optimize without gates and value the tree's safety by hand.")
    study = regime.posterior.study
    free = [d for d in study.decisions if any(len(s) > 1 for s in d.sets)]
    if not free:
        raise DecisionError("policy_tree: no decision of this study offers a choice.")
    table = _names(study, variables, _listed(study, without, "without"))
    if not any(table[d.name] for d in free):
        raise DecisionError("policy_tree: the class is empty: no variable is left to ask about at any decision; name some in variables.")
    return Class(kind, int(depth), tuple(table.items()), int(least), int(cuts), histories)


def _listed(study: Study, names: Any, what: str) -> tuple[str, ...]:
    """Names of variables of the study."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise DecisionError(f"policy_tree: {what} needs a list of names, got {names!r}.")
    if what == "without":
        names = [n for n in names if n not in {b.name for b in study.audited}]  # no rule sees these
    refuse_sensitive(study, names, f"policy_tree: {what}")
    for name in names:
        if name not in study.names:
            raise DecisionError(
                f"policy_tree: {what} names {name!r}; variables of the study: {listing(study.names)}{did_you_mean(name, study.names)}"
            )
    return tuple(dict.fromkeys(names))


def _names(study: Study, variables: Any, without: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What each decision's rule may ask about."""
    known = {d.name: [n.name for n in study.before(d.name)] for d in study.decisions}
    usual = {d.name: tuple(n.name for n in study.before(d.name) if not (getattr(n, "sensitive", False) or getattr(n, "drift", False)))
             for d in study.decisions}
    if variables is None:
        return {d: tuple(n for n in names if n not in without) for d, names in usual.items()}
    if isinstance(variables, Mapping):
        for decision in variables:
            if decision not in known:
                raise DecisionError(f"policy_tree: no decision {decision!r}; decisions: {listing(known)}{did_you_mean(decision, known)}")
        table = {d: _listed(study, variables[d], f"variables[{d!r}]") if d in variables else usual[d] for d in known}
        for decision, names in table.items():
            if early := [n for n in names if n not in known[decision]]:
                raise DecisionError(
                    f"policy_tree: {listing(early)} is not known at {decision!r}; known there: {listing(known[decision]) or 'nothing'}."
                )
    else:
        named = _listed(study, variables, "variables")
        if late := [n for n in named if not any(n in names for names in known.values())]:
            early = dict.fromkeys(n for names in known.values() for n in names)
            raise DecisionError(f"policy_tree: {listing(late)} is known at no decision; a rule can ask about {listing(early) or 'nothing'}.")
        table = {d: tuple(n for n in named if n in names) for d, names in known.items()}
    return {d: tuple(n for n in names if n not in without) for d, names in table.items()}
