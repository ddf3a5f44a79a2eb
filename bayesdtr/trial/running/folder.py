"""The folder of a run: whose it is, and a lock so that one process at a time adds to it."""

import importlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import zarr

from ...errors import BayesDTRError, TrialError
from ...inference.files import versions
from ...kept import fingerprint
from ..describe import in_short
from ..design import TrialDesign
from .declared import read, written
from .describing import describe, differences, digest
from .store import Store

KIND, VERSION = "bayesdtr simulation", 1
ROOT, COMMITS, LOCK, PARTIAL = "run.zarr", "commits", ".lock", ".unfinished-"


class Folder:
    """Where a design's replicates are kept: ``run.zarr``, a group per scenario with ``adaptive`` and ``equal`` in it, and ``commits``, their logs.

    Parameters
    ----------
    path : Path
    design : TrialDesign
    seed : int
    keep : {"summary", "looks", "patients"} or None
        None takes what the folder has, or else "looks".

    Raises
    ------
    TrialError
        When the folder holds something else than this run.
    """

    def __init__(self, path: Path, design: TrialDesign, seed: int | None, keep: str | None):
        self.path, self.design = path, design
        self.description = describe(design)
        there = attributes(path)
        if there is not None:
            _same_run(path, there, {"design": self.description, "seed": there["seed"] if seed is None else seed, "keep": keep or there["keep"]})
        self.exists = there is not None
        self.seed = there["seed"] if there is not None else seed
        self.keep: str = there["keep"] if there is not None else keep or "looks"

    def check(self, scenario: Any) -> None:
        """Raise `TrialError` where the folder holds another scenario of the same name."""
        file = self.path / ROOT / slug(scenario.name) / "zarr.json"
        if not file.is_file():
            return
        there, here = json.loads(file.read_text(encoding="utf-8"))["attributes"].get("scenario"), _through_json(describe(scenario))
        if there is not None and there != here:
            raise TrialError(f"The folder {self.path} holds another scenario {scenario.name!r}: {'; '.join(differences(there, here))}. "
                             "Give the scenario another name, or out= another folder.")

    def store(self, scenario: Any, equal: bool, *, write: bool, chunk: int | None = None) -> Store:
        """The store of a scenario, opened; one that is made has chunks of so many replicates."""
        where = slug(scenario.name)
        if write:
            self._make()
            group = zarr.open_group(self.path / ROOT / where, mode="a", zarr_format=3)
            if "scenario" not in group.attrs:
                group.attrs.update({"name": scenario.name, "scenario": _through_json(describe(scenario)), "digest": digest(describe(scenario)),
                                    "declaration": written(scenario)})
        variant = "equal" if equal else "adaptive"
        made = Store(self.path / ROOT / where / variant, self.path / COMMITS / f"{where}-{variant}.log", self.design.layout, self.keep, chunk)
        return made.open(write=write)

    def _make(self) -> None:
        """Write the root, whole or not at all."""
        if self.exists:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for left in self.path.glob(PARTIAL + "*"):
                shutil.rmtree(left, ignore_errors=True)
            stage = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self.path))
        except OSError as error:
            raise TrialError(f"Cannot write to the folder {self.path}: {error.strerror or error}.") from error
        content = {"kind": KIND, "version": VERSION, "design": self.description, "digest": digest(self.description), "seed": self.seed,
                   "keep": self.keep, "versions": versions(), "words": in_short(self.design), "declaration": written(self.design)}
        zarr.open_group(stage / ROOT, mode="w", zarr_format=3, attributes=content)
        (stage / ROOT).replace(self.path / ROOT)
        stage.rmdir()
        self.exists = True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against other processes that would add to it; the system lets go when a process dies."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / LOCK).open("ab")
        except OSError as error:
            raise TrialError(f"Cannot write to the folder {self.path}: {error.strerror or error}.") from error
        with file:
            with suppress(ImportError):  # Windows has no such lock
                system = importlib.import_module("fcntl")
                try:
                    system.flock(file, system.LOCK_EX | system.LOCK_NB)
                except OSError:
                    raise TrialError(f"Another process is writing to the folder {self.path}; wait for it, or give out= another folder.") from None
            yield


def declared_in(path: Path) -> TrialDesign:
    """The design whose run a folder holds, read back from what it was declared as.

    Raises
    ------
    TrialError
        When there is no run, or its design holds functions, which a folder does not keep, or comes from another release; the message says
        which design it is.
    """
    if (there := attributes(path)) is None:
        raise TrialError(f"There is no run in {path}.")
    of = f"The run in {path} is of a design of {'; '.join(there.get('words') or ['which no more is known'])}"
    return _read_back(there, "design", f"{of}. Give the design: load_run(path, design).")


def scenarios_in(path: Path) -> dict[str, Any]:
    """The scenarios whose runs a folder holds, by name, read back as :func:`declared_in` does."""
    found = {}
    for file in sorted((path / ROOT).glob("*/zarr.json")):
        there = json.loads(file.read_text(encoding="utf-8"))["attributes"]
        told = f"The run in {path} has a scenario {there['name']!r}. Give the scenarios: load_run(path, design, scenarios)."
        found[there["name"]] = _read_back({**there, "design": there["scenario"]}, "scenario", told)
    return found


def _read_back(there: Mapping[str, Any], what: str, told: str) -> Any:
    if there.get("declaration") is None:
        raise TrialError(f"{told} It cannot be read back, since it holds a function or a class of the user's own, or was kept by an earlier release.")
    try:
        made = read(there["declaration"])
        same = _through_json(describe(made)) == there["design"]
    except (BayesDTRError, AttributeError, TypeError) as error:
        raise TrialError(f"{told} It cannot be read back: {error}.") from error
    if not same:
        raise TrialError(f"{told} Read back, this {what} is another: the folder comes from another release.")
    return made


def session() -> dict[str, Any]:
    """Versions that replicates are simulated with, and a fingerprint of the sources."""
    return {"versions": versions(), "fingerprint": fingerprint()}


def attributes(path: Path) -> Mapping[str, Any] | None:
    """What the folder says of itself; None where it is empty or not there yet.

    Raises
    ------
    TrialError
        When it is not a run's.
    """
    if not path.exists():
        return None
    if not path.is_dir():
        raise TrialError(f"out={str(path)!r} is a file; a run is kept in a folder.")
    if not (path / ROOT / "zarr.json").is_file():
        others = sorted(p.name for p in path.iterdir() if p.name != LOCK and not p.name.startswith(PARTIAL))
        if others:
            raise TrialError(f"The folder {path} is not empty and holds no run of a design ({others[0]!r} is there); give out= another folder.")
        return None
    try:
        there = json.loads((path / ROOT / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except (OSError, ValueError, KeyError) as error:
        raise TrialError(f"The run in {path} cannot be read: {error}.") from error
    if there.get("kind") != KIND or there.get("version") != VERSION:
        raise TrialError(f"{path / ROOT} is no run that this release can read (kind {there.get('kind')!r}, version {there.get('version')!r}); "
                         "give out= another folder.")
    return there


def _same_run(path: Path, there: Mapping[str, Any], here: dict[str, Any]) -> None:
    here = _through_json(here)
    for name in ("design", "seed", "keep"):
        if there[name] != here[name]:
            what = {"design": "another design's run", "seed": "a run with another seed", "keep": "a run kept at another level of detail"}[name]
            raise TrialError(f"The folder {path} holds {what}: {'; '.join(differences(there[name], here[name], name))}. "
                             f"{'Give it again as it was' if name != 'design' else 'Declare the design as it was'}, or give out= another folder.")


def slug(name: str) -> str:
    """A scenario's name as a folder's: letters of any case or script may mean one file on some systems, so others than plain ones get a digest."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")[:40]
    return plain if plain == name else f"{plain}-{digest(name)[:8]}".lstrip("-")


def _through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
