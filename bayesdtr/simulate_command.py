"""The command `bayesdtr simulate`: a design file or a gallery name in, a folder of replicates and a table out."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import FileError, did_you_mean, listing

NAMES = ("design", "scenarios")


def find_design(name: str, known: list[str], load: Callable[[Path], ModuleType]) -> ModuleType:
    """Import a design by gallery name or by the path of a Python file.

    Parameters
    ----------
    name : str
    known : list of str
        Names of the gallery.
    load : callable
        Imports a file.

    Raises
    ------
    FileError
        For an unknown name, a file that is not there or fails, or one without `design` and `scenarios`.
    """
    if name in known:
        module = importlib.import_module(f"bayesdtr.gallery.{name}")
    elif name.endswith(".py") or os.sep in name:
        module = load(Path(name))
    else:
        raise FileError(f"No design {name!r}; the gallery has {listing(known)}{did_you_mean(name, known)} (or give the path of a design file)")
    from .trial.design import TrialDesign

    lacking = [n for n in NAMES if getattr(module, n, None) is None]
    if lacking or not isinstance(module.design, TrialDesign):
        what = lacking[0] if lacking else "design"
        raise FileError(f"{name} defines no {what}; a design file defines `design = TrialDesign(...)` and `scenarios = [Scenario(...), ...]`.")
    return module


def carry_out(module: ModuleType, folder: Path, show: Callable[[str], None], *, replicates: int, seed: int, scheduler: str | None, keep: str | None,
              compare: bool) -> Any:
    """Simulate a file's design under its scenarios; tables to the screen and to files beside the replicates.

    Parameters
    ----------
    module : module
        With `design` and `scenarios`.
    folder : Path
        Of the replicates; a run that is there is gone on with.
    show : callable
        Prints a text.
    replicates, seed, scheduler, keep, compare
        As of :func:`bayesdtr.simulate`.

    Returns
    -------
    OperatingCharacteristics
    """
    from .trial.characteristics.operating import describe
    from .trial.running.workers import by_value
    from .trial.simulation import simulate

    if scheduler is not None and not module.__name__.startswith("bayesdtr.") and module.__file__:
        by_value(Path(module.__file__).parent)
    show("\n".join([f"Design: {module.__name__.rpartition('.')[2]}", *(f"  {line}" for line in describe(module.design))]))
    many = module.scenarios if isinstance(module.scenarios, (list, tuple)) else [module.scenarios]
    show(f"\n{replicates:,} replicates under each of {listing([getattr(s, 'name', s) for s in many])}; seed {seed}")
    made = simulate(module.design, module.scenarios, replicates, seed=seed, out=folder, keep=keep, compare=compare, scheduler=scheduler)
    show(f"\n{made}")
    write(folder / "operating.csv", made.frame().to_csv(index=False))
    write(folder / "operating.json", made.json())
    show(f"\nWritten to {folder}/: the replicates, operating.csv, operating.json")
    return made


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises
    ------
    FileError
    """
    stage = path.with_name(f".{path.name}.unfinished")
    try:
        stage.write_text(text, encoding="utf-8")
        stage.replace(path)
    except OSError as error:
        raise FileError(f"Cannot write {path}: {error.strerror or error}.") from error
