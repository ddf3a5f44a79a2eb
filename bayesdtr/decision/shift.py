"""Outcomes not missing at random: values of regimes under a shift of what was not measured, and where recommendations tip.

Pattern mixture: of the patients who receive an option, a share has no measured outcome, and their
linear predictor differs from that of the others by a shift. The expected outcome is the mixture

    (1 - share) g(eta) + share g(eta + shift),   g the inverse link.

The share is learned (Beta posterior under a uniform prior, by option), the shift is not: its draws
are the prior's. Everything that is made of expected outcomes (values, rules, recommendations) then is.
"""

import dataclasses
import itertools
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..errors import DecisionError, listing
from ..inference import Posterior
from ..schema import CHAIN, DRAW, MISSING_SHIFT
from ..study.priors import Prior
from ..study.shift import Shift
from ..study.timeline import Decision, Response
from .induction import MOST_LEAVES, leaves, solve
from .regime import rows_before
from .values import thin_to
from .world import PROBABILITY, SHIFT, World

MOST_DRAWS = 1000
"""Draws that tipping tables rest on."""
MOST_COMBINATIONS = 4096


def _scalar(response: Response) -> bool:
    """Whether a response's mean is the inverse link of one linear predictor (times its number of trials)."""
    family = response.family
    return family is not None and family.levels is None and not family.zero_part and family.link in ("identity", "log", "logit")


def _refuse(posterior: Posterior, shift: Shift) -> None:
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"missing_shift takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    if not isinstance(shift, Shift):
        raise DecisionError(f"missing_shift takes a Shift, got {shift!r}; for example Shift('y', by='arm', prior=Prior('Normal', loc=0, scale=0.5)).")
    shift.check(posterior.study)
    response = posterior.study[shift.response]
    assert isinstance(response, Response)
    if not _scalar(response):
        raise DecisionError(f"Shift: {response.name!r} ({response.family!r}) has no single linear predictor behind its mean, so a shift of it is not "
                            "defined; families such as Normal, Bernoulli and Poisson have.")
    if World.of(posterior).matters(response.name):
        raise DecisionError(f"Shift: something later depends on {response.name!r}; a shift is for an outcome that only the weights of the "
                            "utility look at.")


def _draw(prior: Prior | float, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Independent draws of a prior on the line; a number is itself."""
    if not isinstance(prior, Prior):
        return np.full(size, prior)
    p = dict(prior.parameters)
    if prior.distribution == "Uniform":
        return rng.uniform(p["low"], p["high"], size)
    standard = {"Normal": lambda: rng.standard_normal(size), "Cauchy": lambda: rng.standard_cauchy(size),
                "StudentT": lambda: rng.standard_t(p["df"], size)}[prior.distribution]()
    return p["loc"] + p["scale"] * standard


def missing_counts(posterior: Posterior, shift: Shift) -> dict[str, tuple[int, int]]:
    """For each option of the shift's decision, how many received it and for how many of them the response is missing."""
    t, node = posterior.trajectories, posterior.study[shift.by]
    assert isinstance(node, Decision)
    lost = ~t.observed(shift.response)
    return {o: (int((t.columns[shift.by] == i).sum()), int((lost & (t.columns[shift.by] == i)).sum())) for i, o in enumerate(node.options)}


def missing_shift(posterior: Posterior, shift: Shift, *, seed: int | None = None) -> Posterior:
    """The posterior under the assumption that missing outcomes differ from measured ones by a shift.

    Parameters
    ----------
    posterior : Posterior
        Of data in which the response is missing for some. Patients whose outcome is only not due yet
        count as missing too: leave them out of the data.
    shift : Shift
    seed : int, optional
        Of the draws of shares and shifts; by default the posterior's.

    Returns
    -------
    Posterior
        The same draws, with shares ``probability`` and shifts ``shift`` by option in the group
        ``missing_shift``. `optimize`, `compare`, recommendations and reports of it use the mixture.

    Raises
    ------
    DecisionError
        For a response that later ones or decisions depend on, or whose mean has no single linear predictor.
    StudyError
        When the shift does not fit the study.
    """
    _refuse(posterior, shift)
    counts = missing_counts(posterior, shift)
    options = tuple(counts)
    size = posterior.shape
    seed = posterior.seed if seed is None else seed
    rng = np.random.default_rng([seed, zlib.crc32(shift.response.encode()), 9])
    share = np.stack([rng.beta(1 + lost, 1 + n - lost, size) for n, lost in counts.values()], axis=-1)
    moved = np.stack([_draw(p, size, rng) for p in shift.of(options).values()], axis=-1)
    dims = (CHAIN, DRAW, "option")
    how = {"response": shift.response, "by": shift.by, "said": str(shift), "declared": repr(shift), "seed": seed}
    group = xr.Dataset({PROBABILITY: (dims, share), SHIFT: (dims, moved)}, attrs=how,
                       coords={CHAIN: np.arange(size[0]), DRAW: np.arange(size[1]), "option": np.array(options, dtype=np.str_)})
    groups = {str(name): node.to_dataset() for name, node in posterior.tree.children.items()} | {MISSING_SHIFT: group}
    said = ", ".join(f"{lost} of {n} after {o!r}" for o, (n, lost) in counts.items())
    note = f"Values assume a shift of the {shift}; missing: {said}. The data do not inform the shift."
    t = posterior.trajectories
    return dataclasses.replace(
        posterior, tree=xr.DataTree.from_dict(groups), trajectories=dataclasses.replace(t, notes=(*t.notes, note))
    )


def tipping(posterior: Posterior, response: str, by: str, *, shifts: Sequence[float], decision: str | None = None) -> Any:
    """Where recommendations tip: every combination of shifts, one per option, and what is recommended then.

    Parameters
    ----------
    posterior : Posterior
    response, by : str
        As of :class:`Shift`.
    shifts : sequence of float
        Shifts to try for each option of `by`.
    decision : str, optional
        The decision whose recommendations are looked at; by default `by`.

    Returns
    -------
    pandas.DataFrame
        A row per combination: ``shift of <option>`` for every option of `by`; ``recommended``, the option
        recommended to most of the patients who reached the decision, ``share``, to how many of them;
        ``changed``, the share whose recommendation differs from that without a shift; ``expected_utility``
        of what is recommended, averaged over these patients.

    Raises
    ------
    DecisionError
    """
    import pandas as pd

    study = posterior.study
    node = study[by]
    if not isinstance(node, Decision):
        raise DecisionError(f"tipping: {by!r} is not a decision; decisions: {listing(d.name for d in study.decisions)}.")
    names, levels = node.options, [float(s) for s in shifts]
    if not levels or len(levels) ** len(names) > MOST_COMBINATIONS:
        raise DecisionError(f"tipping: {len(levels)} shifts of {len(names)} options make {len(levels) ** len(names)} combinations; "
                            f"give 1 to {int(MOST_COMBINATIONS ** (1 / len(names)))} shifts.")
    stages = [d.name for d in study.decisions]
    looked = by if decision is None else decision
    if looked not in stages:
        raise DecisionError(f"tipping: {looked!r} is not a decision; decisions: {listing(stages)}.")
    t = posterior.completed(0)
    reached = np.flatnonzero(np.all([t.observed(n.name) for n in study.before(looked)], axis=0) if study.before(looked) else np.ones(t.n, dtype=bool))
    distinct, inverse = rows_before(posterior, t, looked, reached).unique()
    weight = np.bincount(inverse, minlength=distinct.n) / len(reached)
    base = missing_shift(posterior, Shift(response, by=by, prior=0.0))
    world = thin_to(World.of(base), base, MOST_DRAWS)
    if leaves(world, stages.index(looked)) > MOST_LEAVES:
        raise DecisionError(f"tipping: the tree of histories after {looked!r} is too large to be worked out for every combination of shifts.")

    def answer(values: Sequence[float]) -> tuple[np.ndarray, float]:
        qbar = np.concatenate([a.qbar for a in solve(world.with_shift(np.array(values)), stages.index(looked), distinct, [])])
        return qbar.argmax(axis=1), float(weight @ qbar.max(axis=1))

    without, _ = answer([0.0] * len(names))
    rows, options = [], study.decisions[stages.index(looked)].options
    for values in itertools.product(levels, repeat=len(names)):
        choice, worth = answer(values)
        shares = np.bincount(choice, weights=weight, minlength=len(options))
        rows.append({**{f"shift of {o}": v for o, v in zip(names, values, strict=True)}, "recommended": options[int(shares.argmax())],
                     "share": float(shares.max()), "changed": float(weight @ (choice != without)), "expected_utility": worth})
    return pd.DataFrame(rows)
