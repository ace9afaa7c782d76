"""The source distribution is the repository, and its tests run from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.release.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = (".", "export", "calibration", "runtime")
# They read the files around the code, or need the folders beside the packages.
QUICK = ("tests/test_project.py", "tests/runtime/test_init.py", "tests/benchmarks/test_clock.py")


def test_it_holds_every_file_of_the_repository(sdist: Path) -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no clone, or there is no git: apt-get install git")
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True)
    tracked = set(listing.stdout.decode().splitlines())
    held = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}

    assert held == tracked | {"PKG-INFO"}


def run_tests(sdist: Path, *arguments: str) -> str:
    """Run pytest in the unpacked folder, on its own packages."""
    paths = os.pathsep.join(str(sdist / folder) for folder in SOURCES)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=sdist,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_tests_find_what_they_import(sdist: Path) -> None:
    collected = run_tests(sdist, "--collect-only")

    found = re.search(r"^(\d+) tests collected", collected, re.MULTILINE)
    assert found is not None, collected[-2000:]
    assert int(found[1]) > 1000


def test_quick_ones_pass(sdist: Path) -> None:
    passed = run_tests(sdist, *QUICK)

    assert re.search(r"^\d+ passed", passed, re.MULTILINE), passed[-2000:]
