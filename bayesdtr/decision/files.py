"""Regimes on disk: the posterior's file with a few groups and attributes more."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..errors import FileError
from ..inference import Posterior
from ..inference.files import posterior_from, read_tree, save
from ..schema import CHAIN, DECISION, DRAW, VALUES, variable
from ..study.codec import decode, encode
from .basis import Basis
from .regime import Regime
from .regression import StageFit


def save_regime(regime: Regime, path: str | Path) -> Path:
    """Write a regime with its posterior. See :meth:`Regime.save`."""
    arrays = {}
    for name, fit in regime.fits.items():
        dims = tuple(variable(name, d) for d in ("option", "term", "draw"))
        arrays[variable(name, "committed")] = (dims, fit.committed)
        arrays[variable(name, "clairvoyant")] = (dims, fit.clairvoyant)
        arrays[variable(name, "misfit")] = (dims[:1], fit.misfit)
        arrays[variable(name, "roots")] = ((*dims[:2], variable(name, "rank")), fit.roots)
    extra = {
        VALUES: xr.Dataset({"value": ((CHAIN, DRAW), regime.value_draws)}),
        DECISION: xr.Dataset(arrays),
    }
    more = {"methods": json.dumps(dict(regime.methods)), "bases": json.dumps({n: dataclasses.asdict(f.basis) for n, f in regime.fits.items()})}
    if regime.safety is not None:
        more["safety"] = json.dumps(encode(regime.safety))
    return save(regime.posterior, path, kind="regime", extra=extra, more=more)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def load(path: str | Path, models: Mapping[str, Callable[..., Any]] | None = None) -> Posterior | Regime:
    """Read a posterior or a regime from its file.

    Parameters
    ----------
    path : str or Path
    models : mapping of str to callable, optional
        Functions of user-written response models, by response, where they cannot be imported from
        the module they were saved under. For a stacked posterior a mapping of this kind by model.

    Returns
    -------
    Posterior or Regime

    Raises
    ------
    FileError
        When the file is not there, is cut short, is not one of ours, or comes from a newer release.
    StudyError
        When a user-written model is not found or has changed.
    """
    tree = read_tree(path)
    kind = tree.attrs.get("kind")
    posterior = posterior_from(tree, models)
    if kind == "posterior":
        return posterior
    if kind != "regime":
        raise FileError(f"{path} holds a {kind!r}; this release reads a 'posterior' or a 'regime'.")
    try:
        group = tree[DECISION].to_dataset()
        value = np.asarray(tree[VALUES]["value"].values)
        methods = json.loads(tree.attrs["methods"])
        bases = {n: Basis(**{k: _tuples(v) for k, v in b.items()}) for n, b in json.loads(tree.attrs["bases"]).items()}
        parts = ("committed", "clairvoyant", "misfit", "roots")
        fits = {n: StageFit(b, *(group[variable(n, p)].values for p in parts)) for n, b in bases.items()}
        safety = decode(json.loads(tree.attrs["safety"])) if "safety" in tree.attrs else None
    except (KeyError, ValueError, TypeError) as error:
        raise FileError(f"{path} is damaged: its regime cannot be read ({error}).") from error
    kept = xr.DataTree.from_dict({n: v.to_dataset() for n, v in posterior.tree.children.items() if n not in (DECISION, VALUES)})
    posterior = dataclasses.replace(posterior, tree=kept)
    return Regime(posterior, methods, fits, value, safety)
