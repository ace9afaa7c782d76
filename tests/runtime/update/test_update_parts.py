"""The parts of an update, one by one."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("tuf", reason="the extra `agent` is not installed")

from snow_runtime.errors import InputError
from snow_runtime.update import assemble as assembling
from snow_runtime.update import child_program
from snow_runtime.update.box import Box, BoxState, BoxTrial, release_name
from snow_runtime.update.child_program import ChildProgram
from snow_runtime.update.compression import compress, decompress
from snow_runtime.update.errors import RejectedError, UntrustedError, UpdateError
from snow_runtime.update.health import HealthWatch, ProgramCounts
from snow_runtime.update.limits import Hours, RateLimit, parse_rate
from snow_runtime.update.program import CommandProgram, WithinProgram
from snow_runtime.update.release import (
    Blob,
    FilePart,
    Release,
    ReleaseFile,
    ReleasePiece,
    read_document,
)
from snow_runtime.update.rollout import Rollout, Wave
from snow_runtime.update.transport import FolderTransport, open_transport
from snow_runtime.update.trial import check_budget, try_release

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.conftest import MakeGraph

HASH = "a" * 64


def test_a_change_of_a_piece_is_small_and_gives_the_piece() -> None:
    old = np.random.default_rng(1).bytes(300_000)
    new = old[:1000] + b"changed" + old[1000:]
    packed = compress(new, old)
    assert len(packed) < 1000
    assert decompress(packed, len(new), old) == new
    assert decompress(compress(new), len(new)) == new


def test_a_bomb_is_not_unpacked() -> None:
    bomb = compress(bytes(50_000_000), level=1)
    assert len(bomb) < 10_000
    with pytest.raises(UntrustedError, match="unpacks to 1001 bytes or more, expected 1000"):
        decompress(bomb, 1000)
    with pytest.raises(UntrustedError, match="cannot be unpacked"):
        decompress(b"no zstd at all", 1000)


def release(**more: Any) -> Release:
    piece = ReleasePiece(HASH, 10, (Blob(HASH, 8),))
    file = ReleaseFile("snow.onnx", 10, HASH, (FilePart(0, 0, 4), FilePart(0, 4, 6)))
    given: dict[str, Any] = {"format": 1, "name": "r1", "number": 1, "created": "now"}
    return Release(**{**given, "model": "snow.onnx", "pieces": (piece,), "files": (file,), **more})


def test_a_release_is_written_and_read() -> None:
    text = release(budget_ms=2.5).to_json()
    assert read_document(Release, text.encode(), "release") == release(budget_ms=2.5)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a//b", "a/../b", ".hidden", "a\\b", "~/x", "release.json", ""]
)
def test_a_file_lies_in_the_release_and_nowhere_else(path: str) -> None:
    document = json.loads(release().to_json())
    document["files"][0]["path"] = document["model"] = path
    with pytest.raises(UntrustedError, match="cannot be used"):
        read_document(Release, json.dumps(document).encode(), "release")


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (("files", 0, "size_bytes"), 11),
        (("files", 0, "parts", 0, "piece"), 1),
        (("files", 0, "parts", 1, "size_bytes"), 7),
        (("pieces", 0, "size_bytes"), 1 << 30),
        (("pieces", 0, "sha256"), "../../etc/passwd"),
        (("model",), "other.onnx"),
        (("pieces", 0, "blobs", 0, "size_bytes"), 1 << 30),
        (("name",), "../r"),
        (("format",), 2),
        (("unheard",), 1),
    ],
)
def test_a_release_that_contradicts_itself_is_refused(change: tuple[Any, ...], value: Any) -> None:
    document = json.loads(release().to_json())
    at = document
    for step in change[:-1]:
        at = at[step]
    at[change[-1]] = value
    with pytest.raises(UntrustedError):
        read_document(Release, json.dumps(document).encode(), "release")


@pytest.mark.parametrize("path", ["snow.engine", "a/b.ENGINE", "snow.plan", "snow"])
def test_a_release_brings_no_engine(path: str) -> None:
    """An engine of somebody else could do anything; a graph only computes."""
    document = json.loads(release().to_json())
    document["files"][0]["path"] = document["model"] = path
    with pytest.raises(UntrustedError, match=r"engine|ends with \.onnx"):
        read_document(Release, json.dumps(document).encode(), "release")
    document = json.loads(release().to_json())
    document["files"].append({**document["files"][0], "path": "snow.engine"})
    with pytest.raises(UntrustedError, match="no engine"):
        read_document(Release, json.dumps(document).encode(), "release")


def test_a_window_of_a_gigabyte_is_not_opened() -> None:
    """What unpacks to little may ask for much memory to be unpacked in."""
    from snow_runtime.update import compression

    zstd = compression._zstd()
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    packed = compressor.compress(b"a", zstd.ZstdCompressor.FLUSH_BLOCK) + compressor.flush()
    with pytest.raises(UntrustedError, match="cannot be unpacked"):
        decompress(packed, 1)


def test_pieces_that_do_not_make_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is right, and the file's own hash is not theirs."""
    content = b"0123456789"
    packed = compress(content)
    blob, piece = (hashlib.sha256(each).hexdigest() for each in (packed, content))
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / blob).write_bytes(packed)
    made = release(pieces=(ReleasePiece(piece, 10, (Blob(blob, len(packed)),)),))
    monkeypatch.setattr(assembling, "RESERVE_BYTES", 0)
    box = Box(tmp_path / "box")
    with pytest.raises(UntrustedError, match=r"do not make the file"):
        assembling.assemble(box, made, b"{}", "1-r1-" + "0" * 16, FolderTransport(tmp_path))
    assert not [path for path in box.generations.iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize(
    ("state", "open_", "present", "expected"),
    [
        ("running", 1, "r1", "r2"),
        ("running", 0, "r1", "r1"),
        ("paused", 1, "r1", None),
        ("paused", 1, "r2", "r2"),
        ("paused", 1, None, "r1"),
        ("aborted", 1, "r2", "r2"),
        ("aborted", 1, "r1", None),
        ("rolled-back", 1, "r2", "r1"),
    ],
)
def test_which_release_a_box_is_to_have(
    state: Any, open_: int, present: str | None, expected: str | None
) -> None:
    rollout = Rollout(1, "r1", "r2", (Wave(tags=("pilot",)), Wave(share=1.0)), open_, state)
    assert rollout.release_for("b", ["pilot"], present) == expected
    assert rollout.release_for("b", [], "r1") == "r1"


def test_a_rate_is_kept() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    limit = RateLimit(1000.0, lambda: now[0], sleep)
    for _ in range(10):
        limit.took(500)
    assert now[0] == pytest.approx(5.0)
    # No wait is long: hours, and an agent that is to end, are looked at in between.
    assert [RateLimit(rate).chunk_bytes(65_536) for rate in (None, 1e6, 200.0, 0.5)] == [
        *(65_536, 65_536, 200, 1)
    ]
    assert parse_rate("200kB") == 200_000
    assert parse_rate("1.5MB/s") == 1_500_000
    for text in ("fast", "0B", "-1kB", "10", "10k"):
        with pytest.raises(InputError, match="is no rate"):
            parse_rate(text)


def test_hours_may_hold_midnight() -> None:
    night = Hours.parse("22:00-06:00")
    day = Hours.parse("8:30-17:00")
    found = [(hour, night.has(datetime(2026, 1, 1, hour, 15))) for hour in (21, 22, 0, 5, 6)]  # noqa: DTZ001
    assert found == [(21, False), (22, True), (0, True), (5, True), (6, False)]
    assert not day.has(datetime(2026, 1, 1, 8, 29))  # noqa: DTZ001
    assert day.has(datetime(2026, 1, 1, 8, 30))  # noqa: DTZ001
    for text in ("22-6", "25:00-06:00", "06:00-06:00", "a", "10:70-11:00"):
        with pytest.raises(InputError, match="are no hours"):
            Hours.parse(text)


def test_health_takes_three_bad_reports_in_a_row() -> None:
    watch = HealthWatch()
    watch.begin(10.0)
    answered, total = 0, 0.0
    for mean in (5.0, 50.0, 50.0, 5.0, 50.0, 50.0):
        answered, total = answered + 10, total + 10 * mean
        watch.report(ProgramCounts(answered, 0, total))
    assert watch.fault is None
    watch.report(ProgramCounts(answered + 10, 0, total + 500))
    assert watch.fault == "an answer took 50.0 ms, expected 10 ms or less"
    watch.begin(None)
    assert watch.fault is None
    for number in range(5):
        watch.report(ProgramCounts(number, 10 * number, 0.0))
    assert watch.fault == "the model failed on 10 of 11 frames"
    watch.begin(1.0)
    watch.report(ProgramCounts(100, 0, 1e6))
    watch.report(ProgramCounts(5, 0, 1e6))  # of another process
    watch.report(ProgramCounts(5, 0, 1e6))  # nothing to judge by
    assert watch.fault is None


def test_who_answered_before_a_switch_has_to_answer_after_it() -> None:
    watch = HealthWatch()
    watch.begin(None)
    assert watch.answers  # nobody knows whether there is anything to answer
    for count in (0, 5):
        watch.report(ProgramCounts(count, 0, 0.0))
    watch.begin(None)
    assert not watch.answers
    for count in (0, 0, 0):  # another process
        watch.report(ProgramCounts(count, 0, 0.0))
    watch.begin(None)  # and back
    assert not watch.answers
    for count in (0, 1):
        watch.report(ProgramCounts(count, 0, 0.0))
    assert watch.answers
    assert watch.fault is None


def test_a_program_within_is_asked_at_the_switch_whether_it_answered() -> None:
    """Between trials nobody asks: days may have gone by."""
    counts = [ProgramCounts(0, 0, 0.0)]
    program = WithinProgram(lambda: None, lambda: counts[0])
    program.begin(None)
    counts[0] = ProgramCounts(500, 0, 0.0)
    program.switch(None)
    assert not program.answers
    for answered in (500, 500):
        counts[0] = ProgramCounts(answered, 0, 0.0)
        assert program.fault() is None
    assert not program.answers
    counts[0] = ProgramCounts(501, 0, 0.0)
    assert program.fault() is None
    assert program.answers


def test_a_camera_that_went_long_ago_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("snow_runtime.update.health.time.monotonic", lambda: now[0])
    watch = HealthWatch()
    watch.begin(None)
    for count in (0, 5):
        watch.report(ProgramCounts(count, 0, 0.0))
    now[0] = 80_000.0
    watch.begin(None)
    assert not watch.answers
    now[0] = 90_000.0
    assert watch.answers  # a day after the last answer
    watch.begin(None)
    assert watch.answers
    assert not watch.answered_lately


@pytest.mark.parametrize(
    ("answered", "age_s", "has_to"),
    [
        (True, 60.0, True),
        (False, 60.0, False),
        (True, 90_000.0, False),
        (True, -60.0, False),  # the clock has been set back
    ],
)
def test_a_trial_has_to_answer_for_a_day(answered: bool, age_s: float, has_to: bool) -> None:
    trial = BoxTrial("1-doors-0123456789abcdef", answered=answered, begun=time.time() - age_s)

    assert trial.has_to_answer is has_to


def test_who_answered_before_a_restart_has_to_answer_after_it() -> None:
    watch = HealthWatch()
    watch.begin(None, has_to_answer=True)
    assert not watch.answers
    for count in (0, 1):
        watch.report(ProgramCounts(count, 0, 0.0))
    assert watch.answers


def test_a_box_has_one_agent(tmp_path: Path) -> None:
    box = Box(tmp_path)
    with box.alone(), pytest.raises(UpdateError, match="Another agent looks after"), box.alone():
        pass


def test_what_a_box_knows_is_written_and_read(tmp_path: Path) -> None:
    box, name = Box(tmp_path), "3-r-1.2-" + "f" * 16
    state = replace(BoxState(), good=name, trial=BoxTrial(name, 2)).with_failed(name, "why")
    box.save(state)
    assert box.state() == state
    assert state.why_failed(name) == "why"
    assert release_name(name) == "r-1.2"


def test_a_program_within_is_told_what_went_wrong() -> None:
    said: list[str | None] = ["the old model stays", None]
    program = WithinProgram(lambda: said.pop(0), lambda: None)
    program.switch(None)
    assert program.fault() == "the old model stays"
    program.switch(None)
    assert program.fault() is None
    program.fail("cameras failed")
    assert program.fault() == "cameras failed"


def test_a_program_that_commands_reach(tmp_path: Path) -> None:
    python = [sys.executable, "-c"]
    mark = tmp_path / "mark"
    program = CommandProgram(
        [*python, f"open({str(mark)!r}, 'w')"], [*python, "import sys; sys.exit('hangs')"]
    )
    program.switch(None)
    assert mark.exists()
    assert [program.fault() for _ in range(2)] == [None, None]
    assert "hangs" in str(program.fault())
    frame = "import sys; sys.stdout.buffer.write(bytes([255] * 9)); sys.exit({})"
    for code, found in (0, None), (1, "ended with 1"):  # a picture of the page, such as curl's
        program = CommandProgram([*python, "pass"], [*python, frame.format(code)])
        program.switch(None)
        fault = [program.fault() for _ in range(3)][-1]
        assert fault is None if found is None else found in str(fault)
    program = CommandProgram(["no-such-command-anywhere"])
    program.switch(None)
    assert "cannot be run" in str(program.fault())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_child_is_started_again_and_ended(tmp_path: Path) -> None:
    code = f"import os,sys; open({str(tmp_path / 'runs')!r}, 'a').write('x'); sys.exit(3)"
    child = ChildProgram([sys.executable, "-S", "-c", code], again_s=(0.01, 0.01))
    try:
        child.begin(None)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            runs = tmp_path / "runs"
            if runs.exists() and len(runs.read_text(encoding="utf-8")) > 1 and child.fault():
                break
            time.sleep(0.01)
        assert child.fault() == "the program ended by exit code 3"
        child.rest()
        assert child.pid is None
    finally:
        child.end()


READY = """
import os, socket, sys, time
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
line.connect(os.environ["NOTIFY_SOCKET"])
while not os.path.exists(sys.argv[1]):
    line.send(b"WATCHDOG=1")
    time.sleep(0.01)
line.send(b"READY=1")
time.sleep(600)
"""


def wait_for(found: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not found():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="unix sockets and signals")
def test_a_child_is_ready_once_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_program, "_READY_S", 0.2)
    ready = tmp_path / "ready"
    child = ChildProgram([sys.executable, "-S", "-c", READY, str(ready)], again_s=(0.01, 0.01))
    try:
        assert not child.ready
        child.begin(None)
        wait_for(child.fault)
        assert child.fault() == "the program did not begin to work within 0.2 s"
        assert not child.ready
        ready.touch()
        wait_for(lambda: child.ready)
        child.begin(None)
        pid = child.pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)  # by whoever looks after the machine
        wait_for(lambda: child.pid not in {None, pid})
        assert child.fault() is None
    finally:
        child.end()


OLD = """
import os, signal, socket, sys, time
old = not os.path.exists(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
open(sys.argv[1] + ".runs", "a").write("x")
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
line.connect(os.environ["NOTIFY_SOCKET"])
while old:
    time.sleep(0.01)
line.send(b"READY=1")
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="unix sockets and signals")
def test_a_release_is_not_blamed_for_a_program_that_still_begins(tmp_path: Path) -> None:
    """It has no handler of SIGHUP yet, or fails by the files of before a moment later."""
    new = tmp_path / "new"
    child = ChildProgram([sys.executable, "-S", "-c", OLD, str(new)], again_s=(0.01, 0.01))
    try:
        child.begin(None)
        runs = tmp_path / "new.runs"
        wait_for(lambda: runs.exists() and runs.read_text())
        pid = child.pid
        new.touch()
        child.switch(None)
        assert not child.ready
        wait_for(lambda: child.ready)
        assert child.pid not in {None, pid}
        assert child.fault() is None
        assert runs.read_text() == "xx"
    finally:
        child.end()


SLOW = """
import os, signal, socket, sys, time
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
line.connect(os.environ["NOTIFY_SOCKET"])
hups = []
signal.signal(signal.SIGHUP, lambda *_: hups.append(1))
line.send(b"READY=1")
for turn in (1, 2):
    while len(hups) < turn:
        time.sleep(0.01)
    line.send(b"RELOADING=1")
    open(sys.argv[1] + str(turn), "w").close()
    while not os.path.exists(sys.argv[1] + str(turn) + ".go"):
        time.sleep(0.01)
    line.send(b"READY=1\\nX_SNOW_REFUSED=it lacks a task" if turn == 1 else b"READY=1")
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="unix sockets and signals")
def test_what_a_program_says_of_the_release_before_is_not_held_against_the_next(
    tmp_path: Path,
) -> None:
    turn = str(tmp_path / "turn")
    child = ChildProgram([sys.executable, "-S", "-c", SLOW, turn], again_s=(0.01, 0.01))
    try:
        child.begin(None)
        wait_for(lambda: child.ready)
        child.switch(None)
        wait_for(Path(f"{turn}1").exists)
        time.sleep(0.5)  # it has heard that it loads
        child.switch(None)
        Path(f"{turn}1.go").touch()
        wait_for(Path(f"{turn}2").exists)
        assert not child.ready
        Path(f"{turn}2.go").touch()
        wait_for(lambda: child.ready)
        assert child.fault() is None
    finally:
        child.end()


TWICE = """
import os, signal, socket, sys, time
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
line.connect(os.environ["NOTIFY_SOCKET"])
signal.signal(signal.SIGHUP, lambda *_: open(sys.argv[1], "a").write("x"))
line.send(b"READY=1")
while True:
    time.sleep(0.01)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="unix sockets and signals")
def test_a_program_that_loads_anew_is_told_again_and_not_ended(tmp_path: Path) -> None:
    told = tmp_path / "told"
    child = ChildProgram([sys.executable, "-S", "-c", TWICE, str(told)], again_s=(0.01, 0.01))
    try:
        child.begin(None)
        wait_for(lambda: child.ready)
        pid = child.pid
        for count in (1, 2):  # the second one comes before it has said that it works by the first
            child.switch(None)
            wait_for(lambda count=count: told.exists() and len(told.read_text()) == count)  # type: ignore[misc]
        assert child.pid == pid
    finally:
        child.end()


@pytest.mark.skipif(sys.platform != "linux", reason="unix sockets and signals")
def test_what_mends_a_program_that_never_began_has_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_program, "_READY_S", 0.5)
    new = tmp_path / "new"
    code = f"import os, sys; os.path.exists({str(new)!r}) or sys.exit(3)\n{READY}"
    child = ChildProgram([sys.executable, "-S", "-c", code, str(new)], again_s=(30.0, 30.0))
    try:
        child.begin(None)
        wait_for(lambda: child.fault() and child.pid is None)
        time.sleep(0.6)
        new.touch()
        child.switch(None)
        wait_for(lambda: child.ready)
        assert child.fault() is None
    finally:
        child.end()


@pytest.mark.skipif(sys.platform != "linux", reason="unix sockets and signals")
def test_a_program_that_never_begins_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_program, "_READY_S", 0.1)
    monkeypatch.setattr(child_program, "_HANGS_S", 0.3)
    child = ChildProgram([sys.executable, "-S", "-c", "import time; time.sleep(600)"], (0.01, 0.01))
    try:
        child.begin(None)
        wait_for(lambda: child.pid)
        pid = child.pid
        wait_for(lambda: child.pid not in {None, pid})
        assert "did not begin to work" in str(child.fault())
    finally:
        child.end()


def test_a_release_is_tried_in_a_process(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph("snow.onnx")
    made = release(files=(ReleaseFile("snow.onnx", 10, HASH, (FilePart(0, 0, 10),)),))
    (tmp_path / "release.json").write_text(made.to_json(), encoding="utf-8")
    assert try_release(tmp_path, made).latency_ms > 0
    with pytest.raises(RejectedError, match="is too slow here"):
        try_release(tmp_path, replace(made, budget_ms=1e-6))
    graph.path.write_bytes(b"no graph")
    with pytest.raises(RejectedError, match="does not work here"):
        try_release(tmp_path, made)
    with pytest.raises(RejectedError, match="the process ended with"):
        try_release(tmp_path / "nothing", made)
    check_budget(made, 1e9)


@pytest.mark.parametrize(
    "place", ["ftp://host/x", "https://", "https://host/x?y=1", "http://host:0/", "https://h/x#y"]
)
def test_a_place_that_is_none(place: str) -> None:
    with pytest.raises(InputError, match="neither a folder nor an address"):
        open_transport(place)


def test_a_password_of_a_place_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOX_PASSWORD", "hunter22")
    transport = open_transport("https://box:{env:BOX_PASSWORD}@host.example/updates/")
    assert transport.shown == "https://host.example/updates"
    assert "hunter22" not in repr(vars(transport)["shown"])
