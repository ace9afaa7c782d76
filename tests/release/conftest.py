"""What `make release-check` built, and environments of their own to try it in."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
RTX = importlib.util.find_spec("tensorrt_rtx_bindings") is not None
WORKSTATION = "train,export,cpu,rtx" if RTX else "train,export,cpu"

# Of whoever runs the tests; without the second each start would compile all of PyTorch anew.
OURS = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds the wheel and what the wheel asks for, nothing else."""

    folder: Path

    def run(self, program: str, *arguments: str, cwd: Path) -> str:
        """Run one of its programs outside the clone, which must succeed; return what it prints."""
        kept = {name: value for name, value in os.environ.items() if name not in OURS}
        done = subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=cwd,
            env=kept | {"SNOW_DEPLOY_CACHE": str(self.folder / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (program, arguments, done.stdout, done.stderr)
        return done.stdout


def built(pattern: str) -> Path:
    found = list((ROOT / "dist").glob(pattern))
    if len(found) != 1:
        pytest.fail(f"dist/{pattern} are {len(found)} files, not one; run: make release-check")
    return found[0]


@pytest.fixture(scope="session")
def wheel() -> Path:
    return built("snow_deploy-*.whl")


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the source distribution; return its folder."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built("snow_deploy-*.tar.gz")) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return unpacked


@contextmanager
def installed(wheel: Path, extras: str, folder: Path) -> Iterator[Environment]:
    """Give an environment with the wheel; it takes gigabytes, so it is removed in the end."""
    try:
        venv.create(folder, with_pip=False, symlinks=True)
        _install(f"{wheel}[{extras}]", folder)
        yield Environment(folder)
    finally:
        shutil.rmtree(folder)


def _install(what: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    # Compiling PyTorch's sources takes as long as unpacking them, and most are never imported.
    options = ["--disable-pip-version-check", "--quiet", "--no-compile"]
    done = subprocess.run(
        [*pip, "install", *options, what], capture_output=True, text=True, check=False
    )
    if done.returncode:
        free_gb = shutil.disk_usage(folder).free / 1e9
        reason = done.stderr[-2000:]  # pip's reason is the last that it says
        pytest.fail(f"pip exit code {done.returncode}, {free_gb:.1f} GB free: {reason}", False)


@pytest.fixture(scope="session")
def workstation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """Install what trains and exports."""
    with installed(wheel, WORKSTATION, tmp_path_factory.mktemp("workstation")) as environment:
        yield environment


@pytest.fixture(scope="session")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """Install what answers on a device."""
    with installed(wheel, "cpu", tmp_path_factory.mktemp("device")) as environment:
        yield environment
