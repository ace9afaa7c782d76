"""The border: what each package says is public is what it offers, and no more is crossed."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "snow_deploy": ROOT / "snow_deploy",
    "snow_export": ROOT / "export/snow_export",
    "snow_calibration": ROOT / "calibration/snow_calibration",
    "snow_runtime": ROOT / "runtime/snow_runtime",
}
packages = pytest.mark.parametrize("package", PACKAGES)


def names_imported_by(body: list[ast.stmt]) -> dict[str, str]:
    """Return the names that statements import, with their modules."""
    return {
        alias.name: str(node.module)
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@packages
def test_what_is_documented_as_public_is_what_a_package_offers(package: str) -> None:
    module = importlib.import_module(package)
    listed = str(module.__doc__).partition("These names are public:")[2]
    listed = listed.partition("Everything else")[0]
    documented = re.findall(r"`(\w+)`", listed)

    assert len(documented) == len(set(documented))
    assert set(documented) == set(module.__all__) - {"__version__"}


@packages
def test_every_public_name_is_there_with_a_docstring(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name
            assert value.__name__ == name
    assert set(module.__all__) <= set(dir(module))


@packages
def test_type_checkers_see_each_late_name_where_it_comes_from(package: str) -> None:
    module = importlib.import_module(package)
    body = ast.parse((PACKAGES[package] / "__init__.py").read_text()).body
    block = next(node for node in body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    late = names_imported_by(block.body)

    for name, place in late.items():
        assert getattr(module, name) is getattr(importlib.import_module(place), name)
    assert set(module.__all__) == set(late) | (set(names_imported_by(body)) & set(module.__all__))


@packages
def test_a_misspelt_name_is_an_attribute_error(package: str) -> None:
    module = importlib.import_module(package)
    with pytest.raises(
        AttributeError, match=f"module '{package}' has no attribute 'lod'"
    ) as caught:
        module.lod  # noqa: B018
    assert caught.value.obj is module


@packages
def test_importing_a_package_loads_none_of_what_its_public_names_need(package: str) -> None:
    heavy = ("torch", "torchvision", "lightning", "onnx", "onnxruntime", "numpy", "PIL", "scipy")
    code = f"import sys, {package}; print(sorted(set(sys.modules) & set({heavy!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def imported(path: Path) -> list[tuple[str, str, int]]:
    """Return what a file imports from where, and on which line; `import x.y` has no name."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found += [(str(node.module), alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "", node.lineno) for alias in node.names]
    return found


def private_parts(module: str, name: str) -> list[str]:
    parts = [*module.split("."), name]
    return [part for part in parts if part.startswith("_") and not part.startswith("__")]


def crossings(path: Path, own: str) -> list[str]:
    """Return where a file of one package imports a private name of another one."""
    return [
        f"{path.name}:{line} {module} {name}"
        for module, name, line in imported(path)
        if module.partition(".")[0] in set(PACKAGES) - {own} and private_parts(module, name)
    ]


def test_no_package_imports_a_private_name_of_another_one(tmp_path: Path) -> None:
    for package, folder in PACKAGES.items():
        assert [found for path in folder.rglob("*.py") for found in crossings(path, package)] == []

    guilty = tmp_path / "guilty.py"
    guilty.write_text(
        "def f():\n    from snow_runtime.model import _load_engine\n"
        "import snow_export._x\nfrom snow_deploy._y import z\n"
        "from snow_runtime import __version__\n"
    )
    assert [found.split()[0] for found in crossings(guilty, "snow_deploy")] == [
        "guilty.py:3",
        "guilty.py:2",
    ]


def test_private_names_are_not_reached_through_a_module_of_another_package() -> None:
    """No `module._name` on a module that was imported from one of the other packages."""
    found = []
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            modules = {
                name or module.rpartition(".")[2]
                for module, name, _ in imported(path)
                if module.partition(".")[0] in set(PACKAGES) - {package}
            }
            found += [
                f"{path.name}:{node.lineno}"
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in modules
                and private_parts(node.attr, "")
            ]
    assert found == []


def python_of(markdown: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", markdown.read_text(), re.DOTALL | re.MULTILINE)


def ours(code: str) -> list[str]:
    """Return what code takes from within our packages: their modules, and names not public."""
    found = []
    for node in ast.walk(ast.parse(code)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            module = str(node.module)
            names = [module] if module not in PACKAGES else []
            if module in PACKAGES:
                public = importlib.import_module(module).__all__
                found += [alias.name for alias in node.names if alias.name not in public]
        found += [name for name in names if "." in name and name.partition(".")[0] in PACKAGES]
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in PACKAGES
            and node.attr not in importlib.import_module(node.value.id).__all__
        ):
            found.append(node.attr)
    return found


def test_examples_and_documents_stay_within_the_border() -> None:
    texts = {path: [path.read_text()] for path in (ROOT / "examples").glob("*.py")}
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    texts |= {path: python_of(path) for path in documents if "adr" not in path.parts}

    found = {str(path): list(map(ours, codes)) for path, codes in texts.items()}
    assert {path: names for path, names in found.items() if any(names)} == {}
    assert any(found.values())
    assert ours("from snow_runtime.app.loop import Loop\nimport snow_deploy.cli") == [
        "snow_runtime.app.loop",
        "snow_deploy.cli",
    ]
    assert ours("import snow_runtime\nsnow_runtime.files\n") == ["files"]


def definitions(kind: type[ast.ClassDef | ast.FunctionDef]) -> Iterator[tuple[str, str]]:
    """Yield name and place of the public classes or functions of all four packages."""
    for folder in PACKAGES.values():
        for path in folder.rglob("*.py"):
            body = ast.parse(path.read_text()).body
            names = {node.name for node in body if isinstance(node, kind)}  # overloads once
            yield from ((name, str(path)) for name in names if not name.startswith("_"))


@pytest.mark.parametrize(("kind", "least"), [(ast.ClassDef, 200), (ast.FunctionDef, 400)])
def test_no_two_public_classes_or_functions_share_a_name(
    kind: type[ast.ClassDef | ast.FunctionDef], least: int
) -> None:
    """But for the entry points: each command is called `command`, each script's start `main`."""
    found = [each for each in definitions(kind) if each[0] not in {"command", "main"}]
    names = Counter(name for name, _ in found)
    assert len(names) > least
    assert [each for each in found if names[each[0]] > 1] == []
