"""What `bayesdtr simulate` does: find a design, simulate it, write the table."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import FileError


def declared(module: ModuleType, name: str) -> tuple[Any, list[Any]]:
    """A design file's `design` and `scenarios`, each a value or a function without arguments that returns it.

    Raises
    ------
    FileError
        When one is missing, is something else, or fails.
    """
    from .trial import Scenario, TrialDesign

    found = []
    for part, asked in (("design", "`design = TrialDesign(...)`"), ("scenarios", "`scenarios = [Scenario(...), ...]`")):
        value = getattr(module, part, None)
        if callable(value) and not isinstance(value, TrialDesign):
            try:
                value = value()
            except (Exception, SystemExit) as error:
                raise FileError(f"{part}() of {name} failed: {type(error).__name__}: {error}") from error
        ok = isinstance(value, TrialDesign) if part == "design" else (
            isinstance(value, Sequence) and bool(value) and all(isinstance(s, Scenario) for s in value))
        if not ok:
            raise FileError(f"{name} defines no {part}; a design file defines {asked}.")
        found.append(value)
    return found[0], list(found[1])


def simulate_file(module: ModuleType, name: str, folder: Path, show: Callable[[str], None], *, replicates: int, seed: int, scheduler: str | None,
                  keep: str | None, compare: bool) -> None:
    """Simulate a design file's design under its scenarios, print the table and write it beside the store."""
    from .trial.running.workers import connected
    from .trial.simulation import simulate

    design, scenarios = declared(module, name)
    show("\n".join([str(design.study), "", str(design), ""]))
    path = getattr(module, "__file__", None)
    own = path is not None and not module.__name__.startswith("bayesdtr.")
    with connected(scheduler, path if own else None) if scheduler else nullcontext() as client:
        found = simulate(design, scenarios, replicates, seed=seed, out=folder, keep=keep, compare=compare, scheduler=client)
    show(str(found))
    for file, text in (("operating.csv", found.frame().to_csv(index=False)), ("operating.json", found.json())):
        part = folder / f".{file}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / file)
    again = " ".join(["bayesdtr", "simulate", shlex.quote(name), "--replicates", "N", "--seed", str(seed), "--out", shlex.quote(str(folder))])
    show(f"\nWritten to {folder}/: operating.csv, operating.json, run.zarr. The same command with more replicates adds to them:\n{again}")
