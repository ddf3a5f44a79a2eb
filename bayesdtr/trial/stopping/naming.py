"""Which regimes a rule speaks of: options, labels of embedded regimes, parts of them, or the study's reference."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ...study import Study
from ...study.rules import Rules, embedded_regimes, situations
from .rule import Threshold, per_look

REFERENCE = "reference"
"""Names the study's own reference regime."""

Named = str | tuple[tuple[str, str], ...]
"""A regime as a rule stores it: a label, or options by decision."""


def stored(given: Any, what: str) -> Named | None:
    """What names a regime, as a frozen value.

    Raises
    ------
    TrialError
        For something that is neither a text nor a mapping of decisions to options.
    """
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, Mapping) and given and all(isinstance(k, str) and isinstance(v, str) for k, v in given.items()):
        return tuple(given.items())
    raise TrialError(f"{what} takes an option, the label of an embedded regime, or a mapping of decisions to options, got {given!r}.")


def shown(named: Named) -> str:
    """A named regime in words."""
    return named if isinstance(named, str) else ", ".join(f"{d}: {o}" for d, o in named)


def meant(study: Study, named: Named, what: str) -> np.ndarray:
    """The embedded regimes that are meant, shape (regime,).

    Raises
    ------
    TrialError
        For a decision, option or label that the study does not have, or a reference that is no embedded regime.
    """
    regimes = embedded_regimes(study)
    if named == REFERENCE and not any(REFERENCE in d.options for d in study.decisions):
        return _reference(study, regimes, what)
    if isinstance(named, str):
        labels = [r.label for r in regimes]
        if named in labels:
            return np.array([label == named for label in labels])
        options = study.decisions[0].options if len(study.decisions) == 1 else ()
        raise TrialError(f"{what} names {named!r}; regimes: {listing(options or labels)}{did_you_mean(named, options or labels)}")
    found = np.ones(len(regimes), dtype=bool)
    for decision, option in named:
        names = [d.name for d in study.decisions]
        if decision not in names:
            raise TrialError(f"{what} names decision {decision!r}; decisions: {listing(names)}{did_you_mean(decision, names)}")
        known = study.decisions[names.index(decision)].options
        if option not in known:
            raise TrialError(f"{what} names option {option!r} of {decision!r}; options: {listing(known)}{did_you_mean(option, known)}")
        found &= np.array([option in {o for _, o in dict(r.decisions).get(decision, ())} for r in regimes])
    if not found.any():
        raise TrialError(f"{what}: no embedded regime has {shown(named)}.")
    return found


def one(study: Study, named: Named, what: str) -> int:
    """The single embedded regime that is meant.

    Raises
    ------
    TrialError
        When several are.
    """
    found = np.flatnonzero(meant(study, named, what))
    if len(found) > 1:
        labels = [embedded_regimes(study)[i].label for i in found]
        raise TrialError(f"{what} names {shown(named)}, which are {len(found)} regimes ({listing(labels, 4)}); name one, by its label or by all "
                         "its options.")
    return int(found[0])


def _reference(study: Study, regimes: Sequence[Rules], what: str) -> np.ndarray:
    if study.reference is None:
        raise TrialError(f"{what}='reference' needs Study(..., reference={{...}}); or name an option or an embedded regime.")
    if study.reference.stochastic:
        raise TrialError(f"{what}='reference': the study's reference draws a lottery, which is no embedded regime; name one.")
    same = np.array([_agree(study, study.reference, r) for r in regimes])
    if same.sum() != 1:
        raise TrialError(f"{what}='reference': the study's reference ({study.reference.label}) is no embedded regime; name one.")
    return same


def _agree(study: Study, one: Rules, other: Rules) -> bool:
    """Whether two regimes name the same option in every situation that embedded regimes tell apart."""
    for decision in study.decisions:
        for condition, options in situations(study, decision):
            if len(options) < 2:
                continue
            columns = {n: np.array([study.code(n, test.labels[0])]) for n, test in condition.tests}
            picks = []
            for rules in (one, other):
                # Of the branches that say nothing against the situation, the first: what the situation leaves open is open in both.
                branch = [o for c, o in dict(rules.decisions).get(decision.name, ())
                          if all(n not in columns or test.holds(columns[n], lambda v, n=n: study.code(n, v))[0] for n, test in c.tests)]
                picks.append(branch[0] if branch else None)
            if picks[0] != picks[1]:
                return False
    return True


def probability(threshold: float | Sequence[float], what: str) -> Threshold:
    """A threshold that is a probability, one or one per look.

    Raises
    ------
    TrialError
    """
    try:
        made = per_look(threshold)
    except (TypeError, ValueError):
        raise TrialError(f"{what}: a threshold is a probability, or one for each look, got {threshold!r}.") from None
    values = np.atleast_1d(made)
    if not len(values) or not ((values > 0) & (values < 1)).all():
        raise TrialError(f"{what}: thresholds lie between 0 and 1, got {threshold!r}.")
    return made


def yes_or_no(value: bool, what: str) -> bool:
    """A switch.

    Raises
    ------
    TrialError
    """
    if not isinstance(value, bool):
        raise TrialError(f"{what} is True or False, got {value!r}.")
    return value


def complement(threshold: Threshold) -> Threshold:
    """1 less a threshold."""
    return 1 - threshold if isinstance(threshold, (int, float)) else tuple(1 - t for t in threshold)


def check_thresholds(threshold: Threshold, looks: int, what: str) -> None:
    """Raise `TrialError` unless there is one threshold, or one for each look."""
    if isinstance(threshold, tuple) and len(threshold) != looks:
        raise TrialError(f"{what} has {len(threshold)} thresholds for {looks} looks; give one number, or one for each look.")


def which_looks(looks: Sequence[int] | None, what: str) -> tuple[int, ...] | None:
    """Numbers of looks, counted from 1, at which a rule applies.

    Raises
    ------
    TrialError
    """
    if looks is None:
        return None
    if isinstance(looks, (str, int)) or not len(looks) or any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in looks):
        raise TrialError(f"{what}: looks takes numbers of looks, counted from 1, for example range(3, 8); got {looks!r}.")
    return tuple(looks)


def check_looks(which: tuple[int, ...] | None, looks: int, what: str) -> None:
    """Raise `TrialError` where a rule names a look that the design does not have."""
    if which is not None and max(which) > looks:
        raise TrialError(f"{what}: look {max(which)} is named, and the design has {looks}.")


def shown_threshold(threshold: Threshold) -> str:
    """A threshold in words."""
    return f"{threshold:g}" if isinstance(threshold, float) else f"{threshold[0]:g} to {threshold[-1]:g} by look"
