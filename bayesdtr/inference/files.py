"""Posteriors on disk: NetCDF with a versioned schema, written whole or not at all, read without pickle."""

import importlib.metadata
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..data import Trajectories
from ..errors import BayesDTRError, FileError, listing
from ..schema import FORMAT, POSTERIOR, SCHEMA_VERSION, TRAJECTORIES
from ..study import from_json, to_json
from ..study.models import UserModel
from ..study.study import Scale
from .borrow import GROUP, Borrowed
from .posterior import Posterior
from .stacked import StackedModel, StackedPosterior
from .verdict import Verdict

PACKAGES = ("bayesdtr", "pymc", "pytensor", "jax", "numpyro", "arviz", "xarray", "numpy")


def versions() -> dict[str, str]:
    """Versions of the packages that an answer depends on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def attributes(posterior: Posterior) -> dict[str, Any]:
    """Root attributes: everything but the numbers that is needed to read the file and to re-run it."""
    stacked = {"stack": json.dumps(_stack(posterior))} if isinstance(posterior, StackedPosterior) else {}
    return stacked | {
        "format": FORMAT, "schema_version": SCHEMA_VERSION, "kind": "posterior", "study": to_json(posterior.study),
        "seed": posterior.seed, "engine": posterior.engine, "versions": json.dumps(versions()), "data_hash": posterior.trajectories.hash,
        "scales": json.dumps(_scales(posterior.scales)), "verdict": posterior.verdict.to_json(),
        "notice": "This file holds patients' data.",
        **({} if posterior.borrowed is None else {"borrowed": posterior.borrowed.to_json()}),
    }


def _scales(scales: Mapping[str, Scale]) -> dict[str, list[float | None]]:
    return {n: [s.location, s.sd] for n, s in scales.items()}


def _stack(posterior: StackedPosterior) -> dict[str, Any]:
    """The models of a stacked posterior and their weights, as plain data."""
    models = [
        {"name": m.name, "study": to_json(m.study), "scales": _scales(m.scales), "seed": m.seed, "engine": m.engine, "shape": list(m.shape),
         "verdict": m.verdict.to_json()} for m in posterior.models
    ]
    return {"models": models, "weights": {r: list(w) for r, w in posterior.weights.items()}}


def _read_stack(text: str, models: Mapping[str, Any] | None) -> tuple[tuple[StackedModel, ...], dict[str, tuple[float, ...]]]:
    """Inverse of :func:`_stack`; user-written functions are looked up by model, then response."""
    stored = json.loads(text)
    found = tuple(
        StackedModel(
            m["name"], from_json(m["study"], (models or {}).get(m["name"])), {n: Scale(*pair) for n, pair in m["scales"].items()}, int(m["seed"]),
            m["engine"], tuple(m["shape"]), Verdict.from_json(m["verdict"]),
        )
        for m in stored["models"]
    )
    if unknown := set(models or {}) - {m.name for m in found}:
        raise FileError(f"models names {listing(sorted(unknown))}; this file holds a stacked posterior, so give {{model: {{response: function}}}} "
                        f"with its models {listing(m.name for m in found)}.")
    return found, {r: tuple(w) for r, w in stored["weights"].items()}


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file beside its place and move it there when it is complete.

    Raises
    ------
    FileError
        When the folder is not there or cannot be written to; nothing is left behind.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileError(f"Cannot write {path}: the folder {path.parent} does not exist.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise FileError(f"Cannot write {path}: {error.strerror}.") from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise FileError(f"Cannot write {path}: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def save(posterior: Posterior, path: str | Path, *, kind: str = "posterior", extra: Mapping[str, xr.Dataset] | None = None,
         more: Mapping[str, Any] | None = None) -> Path:
    """Write a posterior, with further groups and attributes if given. See :meth:`Posterior.save`."""
    studies = [m.study for m in posterior.models] if isinstance(posterior, StackedPosterior) else [posterior.study]
    for response in (r for s in studies for r in s.responses):
        if isinstance(response.model, UserModel) and (why := response.model.why_not_saved):
            raise FileError(f"The posterior cannot be saved: the model of response {response.name!r} could not be found again, because {why}.")
    groups = {name.strip("/"): node.to_dataset() for name, node in posterior.tree.children.items()} | dict(extra or {})
    if posterior.borrowed is not None:
        groups[GROUP] = posterior.borrowed.trajectories.to_dataset(posterior.study)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {**attributes(posterior), **(more or {}), "kind": kind}
    encoding = {
        f"/{name}": {v: {"zlib": True, "complevel": 1} for v, a in ds.data_vars.items() if a.dtype.kind == "f"} for name, ds in groups.items()
    }
    return write_whole(Path(path), lambda target: tree.to_netcdf(target, engine="h5netcdf", encoding=encoding))


def read_tree(path: str | Path) -> xr.DataTree:
    """Read one of our files into memory.

    Raises
    ------
    FileError
        When it is not there, is cut short, is not one of ours, or comes from a newer or an earlier release.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"No file {path}.")
    try:
        tree = xr.load_datatree(path, engine="h5netcdf")
    except Exception as error:  # h5py raises OSError, KeyError or RuntimeError for damaged files
        raise FileError(f"{path} cannot be read: it is cut short, damaged, or not a file that bayesdtr wrote ({error}).") from error
    if tree.attrs.get("format") != FORMAT:
        raise FileError(f"{path} was not written by bayesdtr: its attribute 'format' is {tree.attrs.get('format')!r}, not {FORMAT!r}.")
    try:
        version = int(tree.attrs["schema_version"])
    except (KeyError, ValueError, TypeError) as error:
        raise FileError(f"{path} is damaged: its attribute 'schema_version' is missing or no number.") from error
    if version > SCHEMA_VERSION:
        raise FileError(f"{path} has file version {version}; this release reads up to {SCHEMA_VERSION}. Install a newer bayesdtr.")
    if version < SCHEMA_VERSION:
        raise FileError(f"{path} has file version {version}, of an earlier release whose models differ from this one's, which reads version "
                        f"{SCHEMA_VERSION}; fit the study again, or read the file with that release.")
    return tree


def posterior_from(tree: xr.DataTree, models: Mapping[str, Any] | None = None) -> Posterior:
    """Rebuild a posterior from a tree read by :func:`read_tree`."""
    a = tree.attrs
    try:
        stack = _read_stack(a["stack"], models) if "stack" in a else None
        study = stack[0][0].study if stack else from_json(a["study"], models)
        scales = {n: Scale(*pair) for n, pair in json.loads(a["scales"]).items()}
        trajectories = Trajectories.from_dataset(study, tree[TRAJECTORIES].to_dataset())
        verdict = Verdict.from_json(a["verdict"])
        tree[POSTERIOR]
        borrowed = Borrowed.from_parts(study, tree[GROUP].to_dataset(), a["borrowed"]) if "borrowed" in a else None
    except BayesDTRError:
        raise
    except KeyError as error:
        raise FileError(f"The file lacks {error}; it is damaged.") from error
    except (ValueError, TypeError) as error:
        raise FileError(f"The file is damaged: what it says of the study, the scales or the verdict cannot be read ({error}).") from error
    if trajectories.hash != a["data_hash"]:
        raise FileError("The patients' data in the file do not match the hash stored with them; the file has been changed.")
    groups = {name: node.to_dataset() for name, node in tree.children.items() if name != GROUP}
    fields = (study, trajectories, xr.DataTree.from_dict(groups), scales, int(np.asarray(a["seed"])), str(a["engine"]), verdict)
    return StackedPosterior(*fields, *stack) if stack else Posterior(*fields, borrowed=borrowed)
