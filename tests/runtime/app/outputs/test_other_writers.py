from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from snow_runtime.app.outputs.other_writers import other_writer

pytestmark = pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="not Linux")

HOLDS = "import sys; opened = open(sys.argv[1], sys.argv[2]); print('open', flush=True); input()"


@pytest.mark.parametrize(("mode", "seen"), [("ab", True), ("r+b", True), ("rb", False)])
def test_another_process_is_seen_if_it_writes(tmp_path: Path, mode: str, seen: bool) -> None:
    path = tmp_path / "index.jsonl"
    path.touch()
    command = [sys.executable, "-c", HOLDS, str(path), mode]
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
        path.open("ab") as stream,
    ):
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"

        found = other_writer(stream.fileno(), [stream.fileno()])

        assert found == (f"process {other.pid}" if seen else None)
        other.communicate("\n")
    with path.open("ab") as stream:
        assert other_writer(stream.fileno(), [stream.fileno()]) is None


def test_another_descriptor_of_this_process_is_seen(tmp_path: Path) -> None:
    """Standard error is led elsewhere while cameras run, and still goes where it went."""
    path = tmp_path / "index.jsonl"
    with path.open("ab") as stream:
        kept = os.dup(stream.fileno())
        try:
            assert other_writer(stream.fileno(), [stream.fileno()]) == "standard error"
        finally:
            os.close(kept)
