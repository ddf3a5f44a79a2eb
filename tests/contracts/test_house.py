"""The house keeps its own rules: layers, folder map, documented and typo-proof public names, a gallery that imports."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import bayesdtr as dtr

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bayesdtr"


def folder_map() -> list[str]:
    """Layers in the order of the architecture page."""
    page = (PACKAGE / "README.md").read_text(encoding="utf-8")
    table = page.split("## Layers")[1].split("## How")[0]
    return re.findall(r"^\| `([\w./]+)` \|", table, flags=re.M)


def layer_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] + "/" if len(parts) > 1 else parts[0]


def imported_layers(path: Path) -> set[str]:
    """Layers of this package that a file imports, wherever in the file."""
    found = set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            if node.level:
                up = path.relative_to(PACKAGE).parts[: depth - node.level]
                base = ".".join([*up, node.module or ""]).strip(".")
                names = [f"{base}.{a.name}".strip(".") for a in node.names]
            elif (node.module or "").startswith("bayesdtr"):
                base = (node.module or "").removeprefix("bayesdtr").strip(".")
                names = [f"{base}.{a.name}".strip(".") for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name.removeprefix("bayesdtr.") for a in node.names if a.name.startswith("bayesdtr.")]
        for name in names:
            head = name.split(".")[0]
            if (PACKAGE / head).is_dir():
                found.add(head + "/")
            elif (PACKAGE / f"{head}.py").is_file():
                found.add(head + ".py")
            elif head == "gallery":
                found.add("gallery")
    return found


def test_the_folder_map_is_the_tree():
    there = {p.name + "/" if p.is_dir() else p.name for p in PACKAGE.iterdir() if p.name not in ("__pycache__", "README.md", "py.typed")}
    assert set(folder_map()) == there
    assert len(folder_map()) == len(set(folder_map()))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_layer_imports_only_layers_before_it(path: Path):
    order = folder_map()
    mine = order.index(layer_of(path))
    for other in imported_layers(path) - {layer_of(path)}:
        if other == "gallery":
            assert mine > order.index("__init__.py"), f"{path} imports the gallery"
        else:
            assert order.index(other) < mine, f"{path} imports {other}, which comes after {order[mine]}"


def test_the_layer_test_sees_a_violation(tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    (tmp_path / "decision").mkdir()
    file = tmp_path / "study" / "bad.py"
    file.write_text("def f():\n    from ..decision import optimize\n")
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    assert imported_layers(file) == {"decision/"}


def test_the_declaration_layer_needs_neither_jax_nor_pymc():
    for path in (PACKAGE / "study").glob("*.py"):
        heads = {
            (n.module or "").split(".")[0] if isinstance(n, ast.ImportFrom) and not n.level else ""
            for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        }
        assert not heads & {"jax", "pymc", "pytensor", "numpyro", "xarray"}, path


def public() -> list[str]:
    return [name for name in dtr.__all__]


@pytest.mark.parametrize("name", public())
def test_public_names_are_documented_and_swallow_no_typo(name: str):
    thing = getattr(dtr, name)
    assert inspect.getdoc(thing), name
    if callable(thing):
        kinds = {p.kind for p in inspect.signature(thing).parameters.values()} if not (
            inspect.isclass(thing) and issubclass(thing, (Exception, Warning))) else set()
        if name not in ("when", "Prior"):  # their keywords are variables and arguments, each checked by name
            assert inspect.Parameter.VAR_KEYWORD not in kinds, name


def test_all_is_sorted_and_complete():
    assert len(set(dtr.__all__)) == len(dtr.__all__)
    for name in dtr.__all__:
        assert hasattr(dtr, name)


def test_nothing_is_pickled():
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"^\s*(import|from) (pickle|cloudpickle|dill|joblib)", path.read_text(encoding="utf-8"), flags=re.M), path


def test_files_and_functions_stay_small():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"


def test_the_top_level_is_as_agreed():
    agreed = {"bayesdtr", "models", "notebooks", "tests", "pyproject.toml", "README.md", "LICENSE"}
    ignored = {"build", "dist", "uv.lock"}
    seen = {p.name for p in ROOT.iterdir() if not p.name.startswith(".") and not p.name.endswith(("-report", ".egg-info"))} - ignored
    assert seen == agreed
