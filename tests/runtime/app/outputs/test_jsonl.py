from __future__ import annotations

import io
import json
import os
import select
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.app.outputs.jsonl import JsonLines
from snow_runtime.app.outputs.non_blocking import non_blocking_text
from snow_runtime.app.states.event import StateNews
from snow_runtime.drift.event import DriftEvent
from snow_runtime.drift.watch import DriftNow
from snow_runtime.errors import InputError
from tests.runtime.app.frames import answer_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


def test_a_line_for_each_answer(counts: Counter[str]) -> None:
    stream = io.StringIO()
    output = JsonLines(lambda what: counts.update([what]), stream)

    output.put(answer_of(number=1))
    output.put(answer_of(number=2))
    output.close()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["frame"] for line in lines] == [1, 2]
    assert lines[0] == {
        "camera": "door",
        "frame": 1,
        "time": 1_700_000_000.5,
        "age_ms": 12.3,
        "latency_ms": 5.68,
        "tasks": {"food": {"label": "soup", "probability": 0.75}},
    }
    assert counts == {}


def test_drift_is_an_event_of_its_own(counts: Counter[str]) -> None:
    stream = io.StringIO()
    output = JsonLines(lambda what: counts.update([what]), stream, answers=False)
    now = DriftNow(True, 11, 12, 10, 0.91, 3.0)
    output.tell(StateNews((), (), (DriftEvent("door", "food", now, 4.0),)))

    assert json.loads(stream.getvalue()) == {
        "event": "drift",
        "camera": "door",
        "question": "food",
        "drifted": True,
        "strange": 11,
        "blocks": 12,
        "share": 0.91,
        "time": 4.0,
    }


def test_a_reader_that_has_gone_away(counts: Counter[str]) -> None:
    stream = io.StringIO()
    output = JsonLines(lambda what: counts.update([what]), stream)
    stream.close()

    for number in range(3):
        output.put(answer_of(number=number))

    assert counts == {"stdout_lost": 3}


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        yield reading, stream
        os.close(reading)


def test_a_reader_that_does_not_read_gets_whole_lines_later(
    counts: Counter[str], pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, stream = pipe
    waits: list[float] = []
    real = select.select

    def watched(*given: Any) -> Any:
        waits.append(given[3])
        return real(*given)

    monkeypatch.setattr("snow_runtime.app.outputs.non_blocking.select.select", watched)
    output = JsonLines(lambda what: counts.update([what]), stream, patience_s=0.05)
    sent = 0
    while not counts["stdout_lost"]:  # until the pipe is full
        output.put(answer_of(camera="door" * 999, number=sent))
        sent += 1
    waits.clear()
    for number in range(50):
        output.put(answer_of(number=number))
    assert set(waits) == {0.0}  # it waited once, and not each time
    assert counts["stdout_lost"] == 51

    read = bytearray()

    def read_all() -> None:
        while select.select([reading], [], [], 0)[0]:
            read.extend(os.read(reading, 1 << 16))

    read_all()
    output.put(answer_of(number=9999))  # the rest of a line, then its own
    output.close()
    read_all()
    lines = [json.loads(line) for line in read.decode().splitlines()]

    assert [line["frame"] for line in lines] == [*range(len(lines) - 1), 9999]
    assert len(lines) - 1 + counts["stdout_lost"] == sent + 50


def test_a_file_on_a_disk_that_is_full_for_a_moment(
    counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "answers.jsonl", os.write
    free = [1 << 20]

    def write(descriptor: int, content: bytes) -> int:
        if free[0] == 0:
            raise OSError(28, "No space left on device")
        taken = real(descriptor, content[: free[0]])
        free[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", write)
    with path.open("w", encoding="utf-8") as stream:
        output = JsonLines(lambda what: counts.update([what]), stream)
        for number in range(4):
            free[0] = 5 if number == 1 else 1 << 20
            output.put(answer_of(number=number))
        output.close()

    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [0, 2, 3]
    assert counts == {"stdout_lost": 1}


def test_without_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(InputError, match="Give --output none"):
        JsonLines(lambda _: None)


def test_errors_that_nobody_reads_hold_nothing_up() -> None:
    reading, writing = os.pipe()
    text: Any = non_blocking_text(writing, patience_s=0.05)
    for number in range(5000):  # would take four minutes if each waited
        text.write(f"warning {number}: ä {'x' * 80}\n")
    written = 5000 - text.buffer.lost
    assert 0 < written < 5000
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    assert len(lines) in (written, written - 1)  # of the last one only the beginning fits
    assert [line.split(":")[0] for line in lines[:3]] == ["warning 0", "warning 1", "warning 2"]
