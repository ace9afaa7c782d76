"""A job that is killed at any moment goes on, and writes every row once."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("pyarrow")

from tests.runtime.readout.graphs import feature_graph
from tests.runtime.score.jobs import (
    expected_rows,
    picture_bytes,
    rows_of,
    run_job,
    write_pictures,
    write_tar,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

# Ends itself by SIGKILL at one of the calls that its own code makes, and says how many there were.
SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
from tests.runtime.score.jobs import run_job

last, seen = int(sys.argv[1]), 0

def counted(frame, event, argument):
    global seen
    name = frame.f_code.co_filename
    if event in ("call", "return") and ("snow_runtime/score" in name or "/files.py" in name):
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(counted)
run_job(Path(sys.argv[2]), sys.argv[3:], "out", shard_rows=3)
sys.setprofile(None)
print(seen)
"""


def test_a_job_that_is_killed_anywhere_writes_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = feature_graph(tmp_path / "snow.onnx").path
    paths = [f"in/{path.name}" for path in write_pictures(tmp_path / "in", 7)]
    write_tar(tmp_path / "a.tar", [(f"{k}.png", picture_bytes(50 + k)) for k in range(4)])
    (tmp_path / "script.py").write_text(SCRIPT.format(path=sys.path))
    expected = expected_rows(
        model,
        [
            *((path, (tmp_path / path).read_bytes()) for path in paths),
            *((f"a.tar#{k}.png", picture_bytes(50 + k)) for k in range(4)),
        ],
    )

    def run(last: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "script.py", str(last), str(model), "in", "a.tar"],
            capture_output=True,
            text=True,
            check=False,
        )

    whole = run(0)
    assert whole.returncode == 0, whole.stderr
    calls = int(whole.stdout)
    assert rows_of(tmp_path / "out") == expected
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    out = tmp_path / "out"
    out.rename(tmp_path / "before")
    for share in (0.15, 0.4, 0.8, 1.0):
        killed = run(moments.randrange(1, int(calls * share)))
        assert killed.returncode in (-9, 0), (seed, killed.stderr)
        rows = rows_of(out) if out.exists() else []
        assert len({row["id"] for row in rows}) == len(rows), seed
    run_job(model, ["in", "a.tar"], "out", shard_rows=3)
    assert rows_of(out) == expected, seed
    assert not list(out.rglob(".*.tmp")), seed
