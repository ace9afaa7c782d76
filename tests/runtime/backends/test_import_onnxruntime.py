"""Nothing is sent, and nothing written outside: seen from outside a fresh process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from snow_runtime.backends.import_onnxruntime import OPT_OUT, import_onnxruntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.conftest import Graph

    Run = Callable[..., subprocess.CompletedProcess[str]]

WATCHED = 12  # seconds; ONNX Runtime 1.32 first looks its collector up after nine


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def run(home: Path) -> Run:
    """Run Python as a user would whose home is `home`, in no CI system: those keep ORT silent."""

    def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=kept | {"HOME": str(home)} | variables,
            capture_output=True,
            text=True,
            check=True,
        )

    return run


@pytest.fixture
def guard(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a process that can reach nobody, and whose attempts are logged."""
    if shutil.which("cc") is None or not sys.platform.startswith("linux"):
        pytest.skip("the guard is a C library for Linux, and there is no compiler")
    library, source = tmp_path / "guard.so", Path(__file__).parents[1] / "network_guard.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "NETWORK_LOG": str(tmp_path / "network.log")}


def written(home: Path) -> list[str]:
    return [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "code",
    [
        "from snow_runtime.backends.import_onnxruntime import import_onnxruntime as load; load()",
        "from snow_deploy.cli.doctor import command; command([], standalone_mode=False)",
    ],
)
def test_nothing_is_written_to_the_users_home(run: Run, home: Path, code: str) -> None:
    run("-c", code)
    assert written(home) == []


@pytest.mark.slow
def test_predicting_looks_no_host_up(
    run: Run, home: Path, guard: dict[str, str], graph: Graph, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (20, 30), "red").save(photo)
    code = (
        "import sys, time; from snow_deploy.cli.predict import command; "
        f"command(sys.argv[1:], standalone_mode=False); time.sleep({WATCHED})"
    )
    answered = run("-c", code, graph.path, photo, **guard)
    assert "food" in answered.stdout
    assert written(home) == []
    log = Path(guard["NETWORK_LOG"])
    assert not log.exists(), log.read_text()


def test_the_guard_sees_what_is_looked_up(run: Run, guard: dict[str, str]) -> None:
    look_up = (
        "import socket\n"
        "try: socket.getaddrinfo('collector.example', 443)\n"
        "except OSError: pass\n"
        "else: raise SystemExit('it was found')"
    )
    run("-c", look_up, **guard)
    assert Path(guard["NETWORK_LOG"]).read_text() == "collector.example\n"


@pytest.mark.parametrize(("said", "expected"), [(None, "1"), ("0", "0"), ("", "")])
def test_what_the_user_said_stays(
    monkeypatch: pytest.MonkeyPatch, said: str | None, expected: str
) -> None:
    monkeypatch.delenv(OPT_OUT)
    if said is not None:
        monkeypatch.setenv(OPT_OUT, said)
    import_onnxruntime()
    assert os.environ[OPT_OUT] == expected
