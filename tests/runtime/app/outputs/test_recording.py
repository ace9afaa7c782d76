from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime.app.outputs import recording
from snow_runtime.app.outputs.mjpeg_with_jsonl import MjpegWithJsonl
from snow_runtime.app.outputs.recording import Recorder, recording_path
from snow_runtime.collection.masks import Masking
from snow_runtime.errors import InputError
from tests.runtime.app.frames import answer_of, frame_of

if TYPE_CHECKING:
    from pathlib import Path

cv2 = pytest.importorskip("cv2")


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


def lines_of(path: Path) -> list[dict[str, Any]]:
    text = path.with_suffix(".jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_what_was_recorded_can_be_played(tmp_path: Path, counts: Counter[str]) -> None:
    path = tmp_path / "new" / "door.mjpeg"
    for number in range(2):  # the second time it goes on
        recorder = Recorder(path, lambda what: counts.update([what]))
        recorder.put(frame_of(number=number, value=100 + number), answer_of(number=number))
        recorder.close()

    played = cv2.VideoCapture(str(path))
    found = [played.read() for _ in range(3)]
    assert [whole for whole, _ in found] == [True, True, False]
    assert abs(int(found[1][1].mean()) - 101) <= 2
    lines = lines_of(path)
    assert lines[0]["offset"] == 0
    assert lines[1]["offset"] == lines[0]["bytes"]
    assert path.stat().st_size == lines[1]["offset"] + lines[1]["bytes"]
    assert counts == {}


def test_masks_are_black_in_what_is_recorded(tmp_path: Path, counts: Counter[str]) -> None:
    path = tmp_path / "door.mjpeg"
    half = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    finds: list[list[Any]] = [[], []]

    def find(_: Any) -> list[Any]:
        return finds.pop(0)  # and fails at the third

    masking = Masking({"door": (half,), "yard": ()}, find)
    recorder = Recorder(path, lambda what: counts.update([what]), masking=masking)
    for number in range(3):
        frame = frame_of(number=number)
        object.__setattr__(frame, "image", np.full((64, 64, 3), 200, np.uint8))
        object.__setattr__(frame, "camera", ("door", "yard", "door")[number])
        recorder.put(frame, answer_of(number=number))
    recorder.close()

    content = np.frombuffer(path.read_bytes(), np.uint8)
    lines = lines_of(path)
    pictures = [
        cv2.imdecode(content[line["offset"] :][: line["bytes"]], cv2.IMREAD_COLOR) for line in lines
    ]
    assert len(pictures) == 2
    assert int(pictures[0][:, :24].max()) < 40
    assert int(pictures[0][:, 40:].min()) > 160
    assert int(pictures[1].min()) > 160
    assert counts == {"recording_lost": 1}


@pytest.mark.parametrize("gone", ["door.mjpeg", "door.jsonl"])
def test_a_recording_that_is_taken_away_begins_anew(
    tmp_path: Path, gone: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Or it would grow unseen, and fill the disk that somebody wanted to empty."""
    monkeypatch.setattr(recording, "_LOOK_EVERY", 1)
    path = tmp_path / "door.mjpeg"
    recorder = Recorder(path, lambda _: None, free_bytes=lambda _: 1 << 40)
    recorder.put(frame_of(number=0), answer_of(number=0))
    end = time.monotonic() + 20
    while not path.with_suffix(".jsonl").read_text() and time.monotonic() < end:
        time.sleep(0.01)
    (tmp_path / gone).unlink()
    recorder.put(frame_of(number=1), answer_of(number=1))
    recorder.close()

    assert "was taken away" in caplog.text
    lines = lines_of(path)
    assert lines[-1]["frame"] == 1
    assert path.stat().st_size == lines[-1]["offset"] + lines[-1]["bytes"]


@pytest.mark.parametrize("hindrance", ["other lines", "no folder"])
def test_a_recording_that_cannot_begin_anew_pauses_and_goes_on(
    tmp_path: Path,
    hindrance: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    counts: Counter[str],
) -> None:
    monkeypatch.setattr(recording, "_LOOK_EVERY", 1)
    folder = tmp_path / "stick"
    path = folder / "door.mjpeg"
    recorder = Recorder(
        path, lambda what: counts.update([what]), free_bytes=lambda _: 1 << 40, camera="door"
    )
    if hindrance == "no folder":
        folder.rename(tmp_path / "away")
    else:
        path.unlink()
        path.with_suffix(".jsonl").unlink()
        path.with_suffix(".jsonl").write_text("notes of somebody else\n", encoding="utf-8")

    def lose(count: int) -> None:
        recorder.put(frame_of(number=count), answer_of(number=count))
        end = time.monotonic() + 20
        while counts["recording_lost"] < count and time.monotonic() < end:
            time.sleep(0.01)
        assert counts["recording_lost"] == count

    for count in (1, 2, 3):
        lose(count)
    assert caplog.text.count("pauses") == 1
    if hindrance == "no folder":
        assert not folder.exists()  # or it would fill another disk
        folder.mkdir()
    else:
        path.with_suffix(".jsonl").unlink()
    recorder.put(frame_of(number=9), answer_of(number=9))
    recorder.close()
    assert [line["frame"] for line in lines_of(path)] == [9]


def test_a_pipe_in_the_place_of_the_index_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "door.jsonl")
    with pytest.raises(InputError, match="it is no plain file"):
        Recorder(tmp_path / "door.mjpeg", lambda _: None)


def test_an_index_without_its_pictures_is_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody made room by deleting the large file: a service must begin all the same."""
    path = tmp_path / "door.mjpeg"
    for number in range(3):
        recorder = Recorder(path, lambda _: None)
        recorder.put(frame_of(number=number), answer_of(number=number))
        recorder.close()
        if number < 2:
            path.unlink()

    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "door.jsonl",
        "door.mjpeg",
        "door.no-pictures.1.jsonl",
        "door.no-pictures.jsonl",
    ]
    assert "it is door.no-pictures.jsonl now" in caplog.text
    assert [line["frame"] for line in lines_of(path)] == [2]


def test_frames_of_changing_size(tmp_path: Path) -> None:
    path = tmp_path / "door.mjpeg"
    recorder = Recorder(path, lambda _: None)
    sizes = [(6, 8), (48, 64), (10, 4)]
    for number, size in enumerate(sizes):
        frame = frame_of(number=number)
        object.__setattr__(frame, "image", np.zeros((*size, 3), np.uint8))
        recorder.put(frame, answer_of(number=number))
    recorder.close()

    content = np.frombuffer(path.read_bytes(), np.uint8)
    for line, size in zip(lines_of(path), sizes, strict=True):
        picture = content[line["offset"] :][: line["bytes"]]
        assert cv2.imdecode(picture, cv2.IMREAD_COLOR).shape == (*size, 3)


def test_frames_that_cannot_be_recorded_are_told_of_once_a_minute(
    tmp_path: Path, counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "door.mjpeg"
    recorder = Recorder(path, lambda what: counts.update([what]))
    for number in range(4):
        frame = frame_of(number=number)
        if number < 3:
            object.__setattr__(frame, "image", np.zeros((0, 7, 3), np.uint8))
        recorder.put(frame, answer_of(number=number))
    recorder.close()

    assert counts == {"recording_lost": 3}
    assert [line["frame"] for line in lines_of(path)] == [3]
    assert caplog.text.count("a frame of door cannot be recorded: ") == 1


def test_a_disk_that_is_nearly_full(
    tmp_path: Path, counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "door.mjpeg"
    recorder = Recorder(path, lambda what: counts.update([what]), free_bytes=lambda _: 1000)

    for number in range(3):
        recorder.put(frame_of(number=number), answer_of(number=number))
    recorder.close()

    assert counts == {"recording_lost": 3}
    assert path.read_bytes() == b""
    assert [record.getMessage() for record in caplog.records] == [
        f"recording to {path} pauses: the disk is full"
    ]


@pytest.mark.parametrize("full", ["pictures", "lines"])
def test_what_a_full_disk_refuses_leaves_nothing_behind(tmp_path: Path, full: str) -> None:
    path = tmp_path / "door.mjpeg"
    files: Any = MjpegWithJsonl(path)
    files.append(b"first", {"frame": 0})
    before = path.read_bytes(), path.with_suffix(".jsonl").read_bytes()
    real = getattr(files, f"_{full}")

    class Full:
        seek, truncate, fileno, close = real.seek, real.truncate, real.fileno, real.close

        def write(self, content: bytes) -> int:
            real.write(content[:2])
            raise OSError(28, "No space left on device")

    setattr(files, f"_{full}", Full())
    with pytest.raises(OSError, match="No space"):
        files.append(b"second", {"frame": 1})
    assert (path.read_bytes(), path.with_suffix(".jsonl").read_bytes()) == before

    setattr(files, f"_{full}", real)
    files.append(b"third", {"frame": 2})
    files.close()
    assert path.read_bytes() == b"firstthird"
    assert [line["frame"] for line in lines_of(path)] == [0, 2]


@pytest.mark.parametrize("lost", range(1, 60, 7))
def test_what_a_power_cut_left_half_written_is_cut_off(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "door.mjpeg"
    files = MjpegWithJsonl(path)
    for number in range(4):
        files.append(bytes([number]) * 10, {"frame": number})
    files.close()
    answers = path.with_suffix(".jsonl")
    os.truncate(answers, answers.stat().st_size - lost)

    files = MjpegWithJsonl(path)
    files.append(b"new", {"frame": 9})
    files.close()

    frames = [line["frame"] for line in lines_of(path)]
    kept = frames[:-1]
    assert frames[-1] == 9
    assert kept == list(range(len(kept)))
    assert len(kept) >= 2
    assert path.read_bytes() == b"".join(bytes([number]) * 10 for number in kept) + b"new"


def test_lines_whose_pictures_never_reached_the_disk_go_too(tmp_path: Path) -> None:
    path = tmp_path / "door.mjpeg"
    files = MjpegWithJsonl(path)
    for number in range(4):
        files.append(bytes([number]) * 10, {"frame": number})
    files.close()
    os.truncate(path, 25)

    MjpegWithJsonl(path).close()

    assert [line["frame"] for line in lines_of(path)] == [0, 1]
    assert path.stat().st_size == 20


def test_a_disk_that_hangs_holds_nobody_up(
    tmp_path: Path, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    recorder = Recorder(tmp_path / "door.mjpeg", lambda what: counts.update([what]))
    monkeypatch.setattr(recorder._files, "append", lambda *_: hangs.wait(30))
    monkeypatch.setattr("snow_runtime.app.outputs.recording._PATIENCE_S", 0.05)

    began = time.monotonic()
    for number in range(100):
        recorder.put(frame_of(number=number), answer_of(number=number))
    recorder.close()

    assert time.monotonic() - began < 5
    assert counts["recording_lost"] == 99  # all but the one that is being written
    hangs.set()


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="Give another --record"):
        Recorder(tmp_path / "file" / "door.mjpeg", lambda _: None)

    os.mkfifo(tmp_path / "fifo.mjpeg")
    with pytest.raises(InputError, match="no plain file"):
        Recorder(tmp_path / "fifo.mjpeg", lambda _: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_index_that_standard_output_goes_to_is_left_alone(tmp_path: Path) -> None:
    index = tmp_path / "seen.jsonl"
    code = (
        "import sys; from pathlib import Path\n"
        "from snow_runtime.app.outputs.recording import Recorder\n"
        "print('an answer', flush=True)\n"
        "Recorder(Path(sys.argv[1]), lambda _: None)"
    )
    with index.open("w") as stream:
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "seen.mjpeg"],
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "standard output goes to" in done.stderr.splitlines()[-1]
    assert contents(tmp_path) == {"seen.jsonl": b"an answer\n"}


@pytest.mark.parametrize(
    ("line", "pictures", "said"),
    [
        (b'{"camera": "door", "frame": 1}\n', None, "holds other lines than a recording's"),
        (b"any text\n", b"", "holds other lines than a recording's"),
        (b'{"camera": "yard", "offset": 0, "bytes": 4}\n', b"1234", "what the camera yard saw"),
    ],
)
def test_files_that_this_camera_did_not_record_stay_as_they_are(
    tmp_path: Path, line: bytes, pictures: bytes | None, said: str
) -> None:
    path = tmp_path / "seen.mjpeg"
    path.with_suffix(".jsonl").write_bytes(line + b'{"half')
    if pictures is not None:
        path.write_bytes(pictures)
    before = contents(tmp_path)

    with pytest.raises(InputError, match=said):
        Recorder(path, lambda _: None, camera="door")

    assert contents(tmp_path) == before


def test_two_recorders_do_not_share_a_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "seen.mjpeg", lambda _: None)
    with pytest.raises(InputError, match="another camera, records to"):
        Recorder(tmp_path / "seen.mjpeg", lambda _: None)
    recorder.close()
    Recorder(tmp_path / "seen.mjpeg", lambda _: None).close()


@pytest.mark.parametrize(
    ("given", "camera", "expected"),
    [
        ("seen.mjpeg", None, "seen.mjpeg"),
        ("seen.MJPEG", "door", "seen-door.mjpeg"),
        ("seen", "door", "seen-door.mjpeg"),
        ("a.cam", None, "a.cam.mjpeg"),
        ("a.10h", None, "a.10h.mjpeg"),
        ("a.10h.mjpeg", "door", "a.10h-door.mjpeg"),
    ],
)
def test_names_of_recordings(given: str, camera: str | None, expected: str, tmp_path: Path) -> None:
    assert recording_path(tmp_path / given, camera) == tmp_path / expected


@pytest.mark.parametrize("given", ["x.mp4", "x.MKV", "x.jsonl", "x.mjpg"])
def test_a_kind_that_is_not_recorded(given: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"recordings are Motion JPEG. Give --record .*x\.mjpeg;"):
        recording_path(tmp_path / given, None)
