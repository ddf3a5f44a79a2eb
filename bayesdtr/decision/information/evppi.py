"""`evppi`: what it would be worth to know some of the parameters, and not the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DecisionError, did_you_mean, listing
from ...inference import Posterior
from ...schema import MISSING_SHIFT, POSTERIOR, stored
from ...study.rules import Rules, written
from ...text import fold
from ..induction import BUDGET, MOST_LEAVES, leaves
from ..rollout import DRAWS
from ..world import World
from .bracketed import Bracketed
from .partial import COPIES, Gain, class_gains, class_values, fits_tree, optimal_gains, simulated_gains, thinned
from .smoother import Smoother

EVERYTHING = "everything"
MOST_REGRESSED = 10_000
"""Draws at most where something is fitted."""
MOST_COLUMNS = 60
"""Columns that values are regressed on, at most."""
EXACT, FITTED = "per draw", "regression"


@dataclass(frozen=True, eq=False)
class ParameterInformation(Bracketed):
    """Expected value of partial perfect information (EVPPI), per patient, of blocks of parameters.

    Attributes
    ----------
    blocks : mapping of str to tuple of str
        Names of the blocks, and the responses or posterior variables in each.
    draws : array, shape (chain, draw, block)
        Gain once a draw's values of the block are known; its mean is the EVPPI, in units of the utility.
    cautious : array, shape (chain, draw, block)
        Gain in draws that the block's regression has not seen, on average at most the EVPPI; NaN where nothing is fitted.
    everything : array, shape (chain, draw)
        Gain once all parameters are known; its mean is the EVPI.
    patients : array, shape (patient, block), or None
        EVPPI by observed patient; None for a class of regimes.
    regimes : str
        Whose choice is informed, in words.
    """

    blocks: Mapping[str, tuple[str, ...]]
    draws: np.ndarray
    cautious: np.ndarray
    everything: np.ndarray
    patients: np.ndarray | None
    regimes: str

    def frame(self) -> Any:
        """One row per block: ``block``, ``parameters``, ``evppi``, ``error``, ``at_least``, ``at_least_error``, ``share`` of the EVPI, ``method``."""
        import pandas as pd

        exact = np.isnan(self.at_least)
        return pd.DataFrame({
            "block": list(self.blocks), "parameters": [", ".join(b) for b in self.blocks.values()], "evppi": self.values, "error": self.errors,
            "at_least": self.at_least, "at_least_error": self.at_least_errors,
            "share": self.values / self.evpi if self.evpi > 0 else np.nan, "method": np.where(exact, EXACT, FITTED),
        })

    def __str__(self) -> str:
        width = min(max(len(EVERYTHING), *map(len, self.blocks)), 36)
        lines = [f"{'parameters known':<{width}} {'EVPPI':>9} {'MC error':>9} {'of EVPI':>8} {'at least':>9} {'MC error':>9}"]
        for row in self.frame().to_dict("records"):
            share = f"{row['share']:.0%}" if np.isfinite(row["share"]) else ""
            low = f"{max(row['at_least'], 0.0):>9.3g} {row['at_least_error']:>9.2g}" if row["method"] == FITTED else f"{'':>19}"
            lines.append(f"{row['block'][:width]:<{width}} {row['evppi']:>9.3g} {row['error']:>9.2g} {share:>8} {low}".rstrip())
        lines.append(f"{EVERYTHING:<{width}} {self.evpi:>9.3g} {self.evpi_error:>9.2g}")
        lines.append(f"Per patient, in units of the utility; informed is the choice of {self.regimes}. No values of a rule that can be "
                     "followed today.")
        if np.isfinite(self.at_least).any():
            lines.append("EVPPI by regression over draws is a little too high; 'at least' is what the rules so learned add in draws that they "
                         "were not learned from, which is not.")
        return fold("\n".join(lines))


def evppi(
    posterior: Posterior, parameters: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None, *,
    regimes: str | Mapping[str, Any] | None = None,
) -> ParameterInformation:
    """Expected value of partial perfect information: what knowing some parameters, and not the others, would be worth per patient.

    Parameters
    ----------
    posterior : Posterior
    parameters : str, sequence of str, or mapping of str to these, optional
        A block of parameters: a response's name (all its parameters), a posterior variable such as ``"improved::treatment"``, one of its
        elements such as ``"improved::treatment[...]"`` by its label, or a list of such names known together. A mapping names several
        blocks for one table. By default every response is a block.
    regimes : "embedded" or mapping of str to regimes, optional
        The choice is among these, one for all patients. By default it is among all regimes: every decision, later ones too,
        is informed and made for each history.

    Returns
    -------
    ParameterInformation

    Raises
    ------
    DecisionError
        For an unknown parameter; where the tree of histories is too large and no regimes are given; for parts of responses that
        share parameters with others.

    Notes
    -----
    With parameters ``phi`` of a block and value ``V`` of a regime ``d``, ``EVPPI = E max_d E[V(d) | phi] - max_d E[V(d)]``. Posteriors of
    responses with separate parameters factorise: a response that is known enters backward induction by its predictive distribution
    under each draw, one that is not by its average, so the EVPPI of whole responses involves no fit. Of other blocks, the
    predictive distributions given ``phi`` come from regression over draws, and the largest of fitted values is a little too high on average; the
    result says what its rules are worth in draws they were not learned from. ``0 <= EVPPI <= EVPI``.

    Safety gates play no part: every feasible option is open to whoever decides.

    References
    ----------
    Strong, Oakley and Brennan 2014, Medical Decision Making 34:311-326 (regression over draws).
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"evppi takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    blocks = _blocks(posterior, parameters)
    rules, words = choice_of(posterior, regimes, "evppi")
    world = World.of(posterior, rules or ())
    told = {name: _told(posterior, members) for name, members in blocks.items()}
    if rules and (not fits_tree(world) or any(world.shares(n) for n in world.compiled)):
        return _simulated(posterior, world, blocks, told, rules, words)
    partly = any(v is not None for members in told.values() for v in members.values())
    most = BUDGET // leaves(world, 0)
    index = thinned(posterior, min(most // COPIES, MOST_REGRESSED) if partly else most)
    world = world.take(index)
    known = [{n: None if c is None else _smoother(c[index]) for n, c in members.items()} for members in told.values()]
    known.append(dict.fromkeys((r.name for r in posterior.study.responses), None))
    gains = class_gains(posterior, world, known, rules) if rules else optimal_gains(posterior, index, world, known)
    return _result(blocks, gains, words)


def choice_of(posterior: Posterior, regimes: str | Mapping[str, Any] | None, verb: str) -> tuple[tuple[Rules, ...] | None, str]:
    """The regimes that a choice is among, None for all of them, and how to call it.

    Raises
    ------
    DecisionError
        When `regimes` is neither "embedded" nor a mapping, or the tree is too large for all regimes.
    """
    study = posterior.study
    if regimes is None:
        if (size := leaves(World.of(posterior), 0)) > MOST_LEAVES:
            raise DecisionError(f"{verb}: the tree of histories has {size:.0f} leaves per patient (at most {MOST_LEAVES}), too many to inform every "
                                "decision; give regimes='embedded' to choose among the embedded regimes.")
        return None, "an option for each history, at every decision"
    if regimes == "embedded":
        rules = study.embedded()
        return rules, f"one of the {len(rules)} embedded regimes for everybody"
    if not isinstance(regimes, Mapping) or not regimes:
        raise DecisionError(f"{verb}: regimes is 'embedded' or a mapping of names to regimes, such as {{'usual care': {{'first': 'a'}}}}, "
                            f"got {regimes!r}.")
    rules = tuple(written(study, r.by_decision if isinstance(r, Rules) else r, f"regime {n!r}") for n, r in regimes.items())
    return rules, f"one of {len(rules)} regimes ({listing(regimes)}) for everybody"


def _result(blocks: Mapping[str, tuple[str, ...]], gains: Sequence[Gain], words: str) -> ParameterInformation:
    *parts, everything = gains
    cautious = [np.full(g.draws.shape, np.nan) if g.cautious is None else g.cautious for g in parts]
    patients = None if everything.patients is None else np.stack([p for g in parts if (p := g.patients) is not None], axis=-1)
    return ParameterInformation(blocks, np.stack([g.draws for g in parts], axis=-1), np.stack(cautious, axis=-1), everything.draws, patients, words)


def _simulated(posterior, world, blocks, told, rules, words) -> ParameterInformation:
    """Regimes of a problem too large for the tree, or with shared parameters: their values, regressed on all columns of a block at once."""
    assert rules is not None
    index = thinned(posterior, min(BUDGET // leaves(world, 0), MOST_REGRESSED) if fits_tree(world) else DRAWS)
    smoothers: list[Smoother | None] = []
    for name, members in told.items():
        if set(members) == set(world.compiled) and all(c is None for c in members.values()):
            smoothers.append(None)
            continue
        columns = np.concatenate([_every_column(world, n)[index] if c is None else c[index] for n, c in members.items()], axis=1)
        smoothers.append(_smoother(columns, name))
    return _result(blocks, simulated_gains(posterior, class_values(posterior, world.take(index), rules), [*smoothers, None]), words)


def _every_column(world: World, response: str) -> np.ndarray:
    return np.concatenate([v.reshape(world.size, -1) for v in world.draws[response].values()], axis=1)


def _smoother(columns: np.ndarray, name: str = "") -> Smoother:
    if columns.shape[1] > MOST_COLUMNS:
        what = f"block {name!r}" if name else "a block"
        raise DecisionError(f"evppi: {what} has {columns.shape[1]} columns, and values are regressed on at most {MOST_COLUMNS}; name fewer "
                            "variables, or the whole response where the tree of histories is small enough.")
    return Smoother.of(columns)


# ---- names ---------------------------------------------------------------------------------------------------


def _blocks(posterior: Posterior, parameters: Any) -> dict[str, tuple[str, ...]]:
    """Blocks by name, each with the names of what is known."""
    if parameters is None:
        parameters = {r.name: r.name for r in posterior.study.responses}
    if isinstance(parameters, str):
        parameters = {parameters: parameters}
    if isinstance(parameters, Sequence):
        parameters = {", ".join(map(str, parameters)): parameters}
    if not isinstance(parameters, Mapping) or not parameters:
        raise DecisionError(f"evppi: parameters is a name, a list of names known together, or a mapping of blocks, got {parameters!r}.")
    found = {}
    for name, members in parameters.items():
        members = (members,) if isinstance(members, str) else members
        if not isinstance(members, Sequence) or not members or not all(isinstance(m, str) for m in members):
            raise DecisionError(f"evppi: block {name!r} holds names of responses or posterior variables, got {members!r}.")
        found[str(name)] = tuple(members)
    return found


def _told(posterior: Posterior, members: Sequence[str]) -> dict[str, np.ndarray | None]:
    """By response, the columns ``[draw, column]`` of a block, or None where all of its parameters are in it."""
    group = posterior.tree[POSTERIOR]
    responses = [r.name for r in posterior.study.responses]
    variables = [str(v) for v in group.data_vars]
    owner = {v: v.split("::")[0] for v in variables}
    found: dict[str, np.ndarray | None] = {}
    named: dict[str, set[str]] = {}
    for member in members:
        if member in responses:
            found[member] = None
            continue
        name, _, label = member.partition("[")
        if name not in variables or owner[name] not in responses:
            raise DecisionError(f"evppi: no response or posterior variable {name!r}; responses: {listing(responses)}; variables: "
                                f"{listing(variables, 20)}{did_you_mean(name, responses + variables)}")
        values = group[name].values.reshape(posterior.size, -1)
        if label:
            values = values[:, [_element(group[name], member, label.removesuffix("]"))]]
        else:
            named.setdefault(owner[name], set()).add(name)
        if found.get(owner[name], 0) is not None:
            found[owner[name]] = np.concatenate([found[owner[name]], values], axis=1) if owner[name] in found else values
    for response, mine in named.items():
        whole = {stored(response, p) for p in posterior.compiled(response).parameters}
        if whole <= mine and not (MISSING_SHIFT in posterior.tree.children and posterior.tree[MISSING_SHIFT].attrs.get("response") == response):
            found[response] = None
    return found


def _element(variable: Any, member: str, label: str) -> int:
    """Position of one labelled element in a variable of one dimension."""
    if variable.ndim != 3:
        raise DecisionError(f"evppi: {member!r} names an element by its label, and {variable.name} has {variable.ndim - 2} dimensions; name it "
                            "whole.")
    labels = [str(v) for v in variable[variable.dims[2]].values]
    if label not in labels:
        raise DecisionError(f"evppi: {variable.name} has no element {label!r}; elements: {listing(labels, 20)}{did_you_mean(label, labels)}")
    return labels.index(label)
