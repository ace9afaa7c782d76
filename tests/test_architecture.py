"""The shape of the code: arrows that run one way, and one copy of what several places need."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("snow_deploy", "snow_export", "snow_calibration", "snow_runtime")
FOLDERS = ("snow_deploy", "export", "calibration", "runtime")


def test_no_imports_run_in_a_circle_not_even_those_for_types() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    assert len(graph.modules) > 200
    TopologicalSorter(
        {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    ).prepare()


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ("0.485", "manifest.py"),  # ImageNet's mean
        ("fx.Interpreter)", "nodes.py"),  # running a traced network node by node
        ("model name", "cpu.py"),  # reading /proc/cpuinfo
        ("def __exit__(self, *_: object) -> None:\n        self.close()", "closing.py"),
        ("(var.double() + norm.eps).rsqrt()", "norms.py"),  # a norm as one scale and shift
        ("pip install -e", "install_hint.py"),
    ],
)
def test_there_is_one_copy(text: str, home: str) -> None:
    found = {
        path.name
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if text in path.read_text()
    }
    assert found == {home}
