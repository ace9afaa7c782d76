"""The report on the forms of a delta, on networks small enough for a test; no time is asserted."""

from __future__ import annotations

import json

import pytest

from benchmarks import delta_forms
from benchmarks._scenario import Scenario
from snow_runtime.errors import MissingDependencyError

SMALL = Scenario("resnet18", 64, source_classes=7, task_classes=(5, 3))


@pytest.mark.slow
def test_a_form_is_counted_and_timed_beside_the_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_content: bytes) -> None:
        msg = "TensorRT-RTX is not installed"
        raise MissingDependencyError(msg)

    monkeypatch.setattr(delta_forms, "compile_graph", missing)
    monkeypatch.setattr(delta_forms, "_QUICK", SMALL)
    name = "taps, from stage 4, blocks first"
    others = ["--only", "fo", "--only", "mp"]

    assert delta_forms.main(["--quick", "--rounds", "1", "--only", name, *others]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line[:34].strip() for line in lines[1:-1]] == [
        "the source alone",
        name,
        "fo",
        "mp",
    ]
    rows = json.loads(lines[-1])["forms"]
    assert rows["fo"]["parameters"] == sum(512 * classes + classes for classes in (5, 3))
    assert rows["mp"]["macs_over_source"] > 2.9  # two networks of the source's size beside it
    assert '"layers": null' in lines[-1]
    assert '"cpu_over_source"' in lines[-1]
