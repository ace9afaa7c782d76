"""`make bench` runs through: what has to be told something is not among its scripts."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASKS = re.compile(r"required=True|add_argument\(\s*\"[a-z_]+\"(?![^)]*nargs=\"[?*]\")")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_no_script_of_it_needs_an_argument() -> None:
    printed = subprocess.run(
        ["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    listed = set(re.findall(r"benchmarks/\w+\.py", printed))
    there = {f"benchmarks/{path.name}" for path in ROOT.glob("benchmarks/[!_]*.py")}

    asking = {name for name in there if ASKS.search((ROOT / name).read_text(encoding="utf-8"))}

    assert listed == there - asking
    assert "benchmarks/serving.py" in listed
    assert "benchmarks/photos_plot.py" in asking
