"""The files around the code agree with the code and with each other."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from snow_runtime._version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
LISTINGS = sorted(
    path.relative_to(ROOT)
    for package in ("snow_deploy", "export", "calibration", "runtime")
    for path in (ROOT / package).rglob("__init__.py")
)
# Made by tools or by runs, so none of our text.
GENERATED = {"__pycache__", "build", "demo-output", "dist", "htmlcov", "runs", "site", "store"}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def own_files() -> list[Path]:
    files = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name == ".ci" or not (name in GENERATED or name.startswith("."))
        ]
        files += [Path(folder, name) for name in names if name != ".git"]  # of a git worktree
    return [path for path in files if path.is_file() and path.stat().st_size < 1_000_000]


def test_the_packages_exist_and_are_typed() -> None:
    packages = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert len(packages) == 4
    for package in packages:
        assert (ROOT / package / "__init__.py").is_file()
        assert (ROOT / package / "py.typed").is_file()


def test_an_editable_install_finds_every_package() -> None:
    build = project()["tool"]["hatch"]["build"]
    folders = {str(Path(package).parent) for package in build["targets"]["wheel"]["packages"]}

    assert folders == set(build["dev-mode-dirs"])


def test_the_base_install_has_no_torch() -> None:
    assert not [line for line in project()["project"]["dependencies"] if "torch" in line]


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_extras_that_a_document_names_exist(document: Path) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = {
        extra
        for extras in re.findall(r"snow-deploy\[([a-z,]+)\]", text)
        for extra in extras.split(",")
    }

    assert named <= set(project()["project"]["optional-dependencies"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_make_targets_that_a_document_names_exist(document: Path) -> None:
    targets = set(
        re.findall(
            r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE
        )
    )
    named = re.findall(
        r"(?:^|`|[A-Z]=\S+ )make ([a-z-]+)",
        (ROOT / document).read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )

    assert set(named) <= targets


def test_the_guide_explains_every_extra() -> None:
    table = (ROOT / "docs/guide/install.md").read_text(encoding="utf-8")

    for extra in project()["project"]["optional-dependencies"]:
        assert f"`{extra}`" in table, f"the table of extras lacks {extra}"


def test_the_changelog_is_in_its_form_and_knows_this_version() -> None:
    """That of Keep a Changelog 1.1: what is not released first, then versions with their days."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^(##+) (.+)$", text, flags=re.MULTILINE)
    releases = [title for level, title in headings if level == "##"]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}

    assert releases[0] == "[Unreleased]"
    dated = [
        re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", title) for title in releases[1:]
    ]
    assert all(dated), releases
    days = [date.fromisoformat(found[2]) for found in dated if found]
    assert days == sorted(days, reverse=True)
    assert __version__ in {found[1] for found in dated if found}
    assert {title for level, title in headings if level == "###"} <= kinds


def test_the_layers_hold() -> None:
    completed = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as c; c()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert completed.returncode == 0, completed.stdout + completed.stderr
    kept = re.search(r"Contracts: (\d+) kept, 0 broken", completed.stdout)
    assert kept is not None
    assert int(kept[1]) >= 3


@pytest.mark.parametrize("listing", LISTINGS, ids=str)
def test_the_modules_that_a_package_lists_are_there(listing: Path) -> None:
    text = ast.get_docstring(ast.parse((ROOT / listing).read_text(encoding="utf-8"))) or ""
    lines = re.findall(r"^ *((?:[a-z_0-9]+(?:\.py)?(?:, )?)+) {2,}\S", text, flags=re.MULTILINE)
    for name in {each.removesuffix(".py") for line in lines for each in line.split(", ")}:
        module = (ROOT / listing).parent / name
        assert module.is_dir() or module.with_suffix(".py").is_file(), name


def test_no_file_names_somebodys_machine() -> None:
    absolute = re.compile(r"""(?<![\w.~>*/-])/(?:root|home|Users|work|mnt|scratch)/[\w.]""")
    found = []
    for path in own_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
            for number, line in enumerate(text.splitlines(), start=1)
            if absolute.search(line)
        ]

    assert not found
