"""The report on serving by Triton, where one is; no time is asserted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("tritonclient.grpc")

from benchmarks import _triton_server, triton_serving

if TYPE_CHECKING:
    from pathlib import Path


def test_contenders_take_turns_and_warming_up_is_not_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triton_serving, "_WARM_UP", 1)
    monkeypatch.setattr(triton_serving, "_REST_S", 0)
    called: list[str] = []
    contenders = {name: lambda name=name: called.append(name) for name in "ab"}
    times = triton_serving.take_turns(contenders, 2)
    assert called == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(all_ms) for name, all_ms in times.items()} == {"a": 2, "b": 2}


def test_it_says_so_where_there_is_no_triton(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(triton_serving, "find_triton", lambda: _triton_server.find_triton(tmp_path))
    assert triton_serving.main([]) == 0
    assert "make triton-server" in capsys.readouterr().out


def test_the_report_sets_each_way_beside_the_direct_one() -> None:
    report = triton_serving._report(
        {
            "JPEG, direct": [2.0, 2.0],
            "JPEG, python form": [3.0, 3.0],
            "frame, direct": [1.0, 1.0],
            "frame, remote": [4.0, 4.0],
        }
    )
    assert (report["python_form_over_direct"], report["remote_over_direct"]) == (1.5, 4.0)
    assert len(triton_serving._lines(report)) == 5
    json.dumps(report)
