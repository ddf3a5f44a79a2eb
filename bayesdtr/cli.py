"""The command line: `bayesdtr run`, `bayesdtr simulate`, `bayesdtr models`, `bayesdtr doctor`."""

import importlib
import importlib.util
import os
import pkgutil
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.console import Console

from .errors import BayesDTRError, FileError, did_you_mean, listing
from .text import decimal, fold, places

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Bayesian dynamic treatment regimes.", pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)


@contextmanager
def one_line_errors(interrupted: str = "the results folder is as it was") -> Iterator[None]:
    """Turn an error that a user can mend into one line and exit code 2; an interrupt into exit code 130."""
    try:
        yield
    except BayesDTRError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"bayesdtr: {' '.join(str(error).split())}", markup=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        Console(stderr=True, highlight=False).print(f"bayesdtr: interrupted; {interrupted}.", markup=False)
        raise typer.Exit(130) from None


# ---- the gallery ---------------------------------------------------------------------------------


def gallery() -> dict[str, str]:
    """Names of the gallery's studies and their titles, without importing the studies."""
    found = {}
    package = importlib.import_module("bayesdtr.gallery")
    for module in pkgutil.iter_modules(package.__path__):
        text = Path(package.__path__[0], f"{module.name}.py").read_text(encoding="utf-8")
        found[module.name] = text.lstrip().lstrip('"').splitlines()[0].strip().strip('"')
    return found


def find_module(name: str) -> ModuleType:
    """Import a file of the gallery by its name, or any Python file by its path.

    Raises
    ------
    FileError
        For an unknown name, or a file that is not there or fails.
    """
    known = gallery()
    if name in known:
        return importlib.import_module(f"bayesdtr.gallery.{name}")
    if name.endswith(".py") or os.sep in name:
        return _import_file(Path(name))
    raise FileError(f"No study {name!r}; the gallery has {listing(known)}{did_you_mean(name, known)} (or give the path of a study file)")


def find_study(name: str) -> ModuleType:
    """Import a study by gallery name or by the path of a Python file.

    Raises
    ------
    FileError
        For an unknown name, a file that is not there or fails, or one without `study` and `patients()`.
    """
    module = find_module(name)
    from .study import Study

    for part, ok in (("study", isinstance(getattr(module, "study", None), Study)), ("patients", callable(getattr(module, "patients", None)))):
        if not ok:
            raise FileError(f"{name} defines no {part}; a study file defines `study = Study(...)` and a function `patients()` that returns a frame.")
    return module


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileError(f"No study file {path}.")
    taken = path.stem in sys.stdlib_module_names or path.stem in sys.modules
    if taken or (path.stem.isidentifier() and importlib.util.find_spec(path.stem) is not None):
        raise FileError(f"The study file {path} bears the name of an installed module, {path.stem!r}; rename the file.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file raises is about that file
        sys.modules.pop(path.stem, None)
        sys.path.remove(str(path.parent.resolve()))
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise FileError(f"The study file {path}{line} failed: {type(error).__name__}: {error}") from error
    return module


# ---- run --------------------------------------------------------------------------------------------


def prepare_folder(out: Path) -> Path:
    """Make the output folder, or say why not, before any work is done.

    Raises
    ------
    FileError
    """
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise FileError(f"Cannot write to the folder {out}: {error.strerror or error}.") from error
    return out


@app.command()
def run(
    study: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A study of the gallery, or the path of a study file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the results; by default ./NAME-report/.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 1,
    engine: Annotated[str, typer.Option(help="nuts, exact or laplace.")] = "nuts",
    draws: Annotated[int | None, typer.Option(help="Draws per chain (nuts, laplace) or in all (exact).")] = None,
    honest: Annotated[bool, typer.Option("--honest", help="The honest value too: rules learned on earlier patients, judged in later ones.")] = False,
) -> None:
    """Fit a study, find its optimal regime, and write the report."""
    with one_line_errors():
        module = find_study(study)
        patients = read_patients(module, study)
        folder = prepare_folder(out or Path(f"{Path(study).stem}-report"))
        _run(module, patients, folder, study, seed=seed, engine=engine, draws=draws, honest=honest)


def read_patients(module: ModuleType, name: str) -> Any:
    """Call a study file's `patients()`.

    Raises
    ------
    FileError
        With whatever it raised.
    """
    try:
        return module.patients()
    except (Exception, SystemExit) as error:
        raise FileError(f"patients() of {name} failed: {type(error).__name__}: {error}") from error


def _run(module: ModuleType, patients: Any, folder: Path, name: str, *, seed: int, engine: str, draws: int | None, honest: bool) -> None:
    from .decision import compare, optimize
    from .inference import fit
    from .inference.fit import check_arguments
    from .reporting import report, write_figures, write_summary

    declared = module.study
    check_arguments(declared, seed, engine, 1000 if draws is None else draws)
    show(str(declared))
    posterior = fit(declared, patients, seed=seed, engine=engine, draws=draws)
    for note in posterior.trajectories.notes:
        show(f"Data: {note}")
    show(f"\n{posterior.trajectories.n} patients, {posterior.size} draws, engine {engine}, seed {seed}")
    show(str(posterior.verdict))
    regime, comparison = optimize(posterior), compare(posterior)
    starts, outcomes, behind = _prior(regime, seed)
    show(f"\nEmbedded regimes\n{comparison}")
    if regime.posterior.verdict.status != "fail":
        show(f"\n{cell_table(regime)}")
        show(f"\nHow far recommendations extrapolate\n{behind}")
    if starts:
        show("Before any data, P(starts the best regime), by simulation: " + ", ".join(f"{o} {p:.2f}" for o, p in starts.items()))
    findings = [] if regime.posterior.verdict.status == "fail" else _findings(regime)
    for found in findings:
        show(f"\n{found}")
    judged = _honest(declared, patients, seed, engine) if honest and regime.posterior.verdict.status != "fail" else None
    show("\n" + "\n".join(rule_block(regime, judged)))
    title = (module.__doc__ or name).strip().splitlines()[0].rstrip(".")
    command = " ".join(["bayesdtr", "run", shlex.quote(name), "--seed", str(seed), "--engine", engine, *(["--draws", str(draws)] if draws else []),
                        *(["--honest"] if honest else [])])
    with staged(folder) as stage:
        (stage / "figures").mkdir()
        write_figures(regime, comparison, stage / "figures")
        report(regime, stage / "report.html", comparison=comparison, title=title, command=command, prior_starts_best=starts,
               prior_outcomes=outcomes, honest_value=judged, extrapolation=behind, findings=findings)
        regime.save(stage / "posterior.nc")
        write_summary(regime, stage / "summary.json", comparison=comparison, prior_starts_best=starts, honest_value=judged, extrapolation=behind,
                      findings=findings)
    show(f"\nWritten to {folder}/: report.html, summary.json, posterior.nc (holds patients' data), figures/")


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder to write results in; they move to their place together when all are there, or not at all."""
    stage = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    try:
        yield stage
        for made in sorted(stage.rglob("*"), key=lambda p: p.name == "summary.json"):  # the summary last: it says the set is complete
            if made.is_file():
                made.replace(folder / made.relative_to(stage))
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def show(text: str) -> None:
    """Print plain text; labels never count as markup."""
    console.print(fold(text), markup=False)


def _prior(regime: Any, seed: int) -> tuple[dict[str, float] | None, dict[str, Any] | None, Any]:
    """Prior P(starts best), simulated outcomes, and how far recommendations extrapolate.

    The first two are None where the prior is improper (the first also where the tree is too large), and the third has no widths then.
    """
    from .decision import prior_starts_best
    from .errors import InferenceError
    from .inference.prior import prior_draws, prior_outcomes

    posterior = regime.posterior
    try:
        drawn = prior_draws(posterior, seed=seed)
    except InferenceError as error:
        show(f"Before any data, P(starts the best regime) is not defined: {error}")
        return None, None, None if posterior.verdict.status == "fail" else regime.extrapolation()
    behind = None if posterior.verdict.status == "fail" else regime.extrapolation(drawn=drawn)
    return prior_starts_best(posterior, seed=seed, drawn=drawn), prior_outcomes(posterior, drawn, seed=seed), behind


def _findings(regime: Any) -> list[Any]:
    """The worth of knowing more, where the tree of histories is small, and values by every covariate with labels."""
    from .decision import by_group, value_of_information
    from .decision.information.information import affordable

    posterior = regime.posterior
    known = [value_of_information(posterior, method="tree")] if affordable(posterior) else []
    study = posterior.study
    return known + [by_group(regime, b.name) for b in (*study.baselines, *study.audited) if b.levels]


def cell_table(regime: Any) -> str:
    """What each option is worth in every cell that offers a choice, as a table at most 100 columns wide."""
    digits = places(regime.value().sd)
    lines = [f"{'decision, history, option':<58} {'utility':>8} {'P(best)':>8} {'n':>5}  recommended"]
    for cell in regime.cells():
        lines.append(f"{cell.decision}: {cell.label}"[:98])
        for o in cell.options:
            mark = "" if o.share == 0 else "yes" if o.share == 1 else f"for {o.share:.0%}"
            sparse = " (few)" if o.patients < 5 else ""
            line = f"    {o.option[:52]:<54} {decimal(o.expected_utility, digits):>8} {o.p_best:>8.4f} {o.patients:>5}  {mark}{sparse}"
            lines.append(line.rstrip())
    lines.append("P(best): this option has the highest value, later decisions following the recommended rule; n: patients who received it.")
    return "\n".join(lines)


def _honest(study: Any, patients: Any, seed: int, engine: str) -> Any:
    """The honest value; None, said with the reason, where it cannot be worked out."""
    from .errors import DataError, InferenceError
    from .evaluate import honest_value
    from .study import Hierarchical

    try:
        # NUTS is for models that no faster engine knows.
        slow = engine == "nuts" and any(not isinstance(r.model, Hierarchical) for r in study.responses)
        return honest_value(study, patients, seed=seed, engine="nuts" if slow else "exact" if engine == "exact" else "laplace")
    except (DataError, InferenceError) as error:
        show(f"\nNo honest value: {error}")
        return None


def rule_block(regime: Any, honest: Any = None) -> list[str]:
    """The regime and its value, or why it is withheld."""
    from .decision.reading.readable import rule_branches

    verdict = regime.posterior.verdict
    if verdict.status == "fail":
        return ["The rule is withheld because the checks fail:", *(f"  - {reason}" for reason in verdict.reasons)]
    rough = any(b.agreement < 1 for b in rule_branches(regime))
    lines = ["Optimal regime" + (", approximated by thresholds where a line says so" if rough else ""), *(f"  {line}" for line in regime.rules())]
    return [*lines, f"  value under the model: {regime.value()}", f"  {honest}" if honest is not None else "  honest value: not provided"]


@app.command()
def simulate(
    design: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A design of the gallery, or the path of a file with `design` and `scenarios`.")],
    replicates: Annotated[int, typer.Option(help="Simulated trials under each scenario.")] = 10_000,
    out: Annotated[Path | None, typer.Option(help="Folder where they are kept and added to; by default ./NAME-report/.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler whose workers simulate.")] = None,
    keep: Annotated[str | None, typer.Option(help="summary, looks or patients; by default looks.")] = None,
    compare: Annotated[bool, typer.Option("--compare/--no-compare", help="Equal allocation beside the design.")] = True,
) -> None:
    """Simulate an adaptive trial and print its operating characteristics; an interrupted call is taken up again by the same command."""
    from .simulating import simulate_file

    with one_line_errors("finished batches are kept, and the same command goes on from there"):
        folder = out or Path(f"{Path(design).stem}-report")
        simulate_file(find_module(design), design, folder, show, replicates=replicates, seed=seed, scheduler=scheduler, keep=keep, compare=compare)


@app.command()
def models() -> None:
    """List the gallery: one worked study a line."""
    with one_line_errors():
        known = gallery()
        width = max(map(len, known), default=0)
        for name, title in known.items():
            show(f"{name:<{width}}  {title}")
        show("\nRun one with `bayesdtr run NAME`; copy one with its path: " + str(Path(importlib.import_module("bayesdtr.gallery").__path__[0])))


@app.command()
def doctor() -> None:
    """Show versions and devices, and test the sampler and the induction in about a minute."""
    from .doctor import examine

    with one_line_errors():
        if not examine(show):
            raise typer.Exit(1)


def main() -> None:
    """Entry point of the `bayesdtr` command."""
    app()


if __name__ == "__main__":
    main()
