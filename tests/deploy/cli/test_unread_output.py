"""What commands do where nobody takes what they print, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from snow_deploy.cli import COMMANDS
from tests.conftest import DATA

if TYPE_CHECKING:
    from snow_deploy.models.weights import SourceWeights

FULL = Path("/dev/full")


def start(*arguments: object, **streams: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "snow_deploy", *map(str, arguments)]
    return subprocess.Popen(command, text=True, **streams)


def closed_pipe() -> int:
    """Return a descriptor that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.slow
def test_a_training_whose_output_nobody_reads_stores_its_task(
    weights: SourceWeights, tmp_path: Path
) -> None:
    from snow_deploy.training.store import Store

    store = Store(tmp_path / "store")
    store.put_source(weights)
    arguments = ["train", "--task", "shape", "--data", f"demo:shape?{DATA}", "--store", store.root]
    options = ["--epochs", 1, "--batch-size", 16, "--image-size", 64, "--workers", 0]
    output = closed_pipe()

    running = start(*arguments, *options, "--no-baseline", stdout=output, stderr=subprocess.PIPE)
    _, said = running.communicate(timeout=120)
    os.close(output)

    assert running.returncode == 0
    assert store.task_path("shape").is_file()
    assert said.count("note: nobody reads the output any more; the command goes on") == 1
    assert "Traceback" not in said


def test_standard_error_may_be_read_by_nobody_either(tmp_path: Path) -> None:
    code = (
        "import sys, click; from snow_deploy.cli.unread_output import unread_output_is_lost\n"
        "with unread_output_is_lost():\n"
        "    for _ in range(9): click.echo('a'); click.echo('b', err=True); print('c')\n"
        f"open({str(tmp_path / 'made')!r}, 'w').close()"
    )
    output = closed_pipe()
    done = subprocess.run([sys.executable, "-c", code], stdout=output, stderr=output, check=False)
    os.close(output)
    assert done.returncode == 0
    assert (tmp_path / "made").exists()


def test_commands_that_make_files_go_on() -> None:
    going_on = {name for name, entry in COMMANDS.items() if entry.makes_files}
    assert going_on == {
        *("agent", "build-engine", "calibrate", "collect", "demo", "export", "fit", "paper"),
        *("publish", "score", "train", "triton"),
    }


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["doctor"]])
def test_a_full_disk_is_one_line(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        running = start(*arguments, stdout=full, stderr=subprocess.PIPE)
        _, said = running.communicate(timeout=60)

    assert running.returncode == 1
    assert said.startswith("error: [Errno 28] No space left on device")
    assert said.count("\n") == 1


def test_its_traceback_is_there_for_who_wants_it() -> None:
    if not FULL.exists():
        pytest.skip("there is no /dev/full")
    with FULL.open("w") as full:
        running = start("--debug", "doctor", stdout=full, stderr=subprocess.PIPE)
        _, said = running.communicate(timeout=60)
    assert "Traceback" in said


def test_a_home_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    from snow_deploy.data import open_data
    from snow_deploy.errors import DataError

    monkeypatch.delenv("HOME")
    with pytest.raises(DataError, match="home that this system does not know"):
        open_data("imagefolder:~nobody_of_this_name/photos", seed=0)
