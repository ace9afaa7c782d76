"""The collector keeps what is chosen, masked, and never holds up whoever calls."""

from __future__ import annotations

import io
import shutil
import sqlite3
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from snow_runtime.collection import collector as module
from snow_runtime.collection.collection import DATABASE, Collection
from snow_runtime.collection.collector import Collector, Shown
from snow_runtime.collection.masks import Masking
from snow_runtime.collection.options import CollectionOptions
from snow_runtime.collection.selection import Pick, Sighting
from snow_runtime.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


CHOICE = Pick("unsure", 2.5)


def shown_frame(number: int = 0, cut: Callable[[Any], Any] = lambda image: image) -> Shown:
    image = np.full((40, 60, 3), 100 + number, np.uint8)
    features = np.asarray([1.5, 1e6, number], np.float32)
    seen = Sighting("gate", "left", 1000.0 + number, {}, features)
    answers = {"door": {"label": "open", "probability": 0.5}}
    return Shown(image, cut, seen, answers, "5" * 64, "6" * 64)


def until(said: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not said():
        assert time.monotonic() < ends
        time.sleep(0.005)


def kept_picture(folder: Path) -> Any:
    with Collection.open(folder) as found:
        (picture,) = found.pictures()
        return np.asarray(Image.open(io.BytesIO(found.jpeg(picture.id))))


def test_a_frame_is_kept_with_what_was_known_of_it(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    with Collector(tmp_path, CollectionOptions(), lambda what: counts.update([what])) as collector:
        collector.keep(shown_frame(7), CHOICE)
    assert counts == {"collected": 1}
    with Collection.open(tmp_path) as kept:
        (picture,) = kept.pictures()
        assert (picture.camera, picture.view, picture.taken_at) == ("gate", "left", 1007.0)
        assert (picture.reason, picture.width, picture.height) == ("unsure", 60, 40)
        assert (picture.source_sha256, picture.model_sha256) == ("5" * 64, "6" * 64)
        assert picture.answers == {"door": {"label": "open", "probability": 0.5}}
        assert kept.features([picture.id]).tolist() == [[1.5, 65504, 7]]


def test_features_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    with Collector(tmp_path, CollectionOptions(features=False), lambda _: None) as collector:
        collector.keep(shown_frame(), CHOICE)
    with Collection.open(tmp_path) as kept:
        assert kept.pictures()[0].features_width is None
        assert kept.pictures()[0].source_sha256 == ""


def test_masks_are_of_the_whole_picture_and_come_before_the_view(tmp_path: Path) -> None:
    region = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    face = ((0.9, 0.0), (1.0, 0.0), (1.0, 1.0), (0.9, 1.0))
    masking = Masking({"gate": (region,), "yard": (face,)}, lambda _: [face])
    shown = shown_frame(50, lambda image: np.ascontiguousarray(image[:, 20:]))
    with Collector(tmp_path, CollectionOptions(), lambda _: None, masking) as collector:
        collector.keep(shown, CHOICE)
    found = kept_picture(tmp_path)
    assert found.shape == (40, 40, 3)
    assert found[:, :8].max() < 20
    assert found[:, -4:].max() < 20
    assert found[:, 16:28].min() > 130
    assert (shown.image == 150).all()


def test_what_cannot_be_masked_is_not_stored(tmp_path: Path, caplog: Any) -> None:
    counts: Counter[str] = Counter()

    def fail(_: Any) -> Any:
        msg = "no model"
        raise RuntimeError(msg)

    count: Callable[[str], None] = lambda what: counts.update([what])  # noqa: E731
    with Collector(tmp_path, CollectionOptions(), count, Masking({}, fail)) as collector:
        collector.keep(shown_frame(), CHOICE)
        until(lambda: bool(counts))
    assert counts == {"collect_dropped": 1}
    assert "no model" in caplog.text
    with Collection.open(tmp_path) as kept:
        assert kept.pictures() == []
    assert not list(tmp_path.glob("pictures/*/*"))


def test_a_slow_disk_drops_frames_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    going = threading.Event()
    real = module._encoded
    monkeypatch.setattr(module, "_encoded", lambda image: (going.wait(20), real(image))[1])
    with Collector(tmp_path, CollectionOptions(), lambda what: counts.update([what])) as collector:
        for number in range(20):
            collector.keep(shown_frame(number), CHOICE)  # one is written, four wait
        assert counts["collect_dropped"] >= 15
        going.set()
        until(lambda: sum(counts.values()) == 20)
    assert 4 <= counts["collected"] <= 5


def test_a_full_disk_pauses_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    counts: Counter[str] = Counter()
    free = [0]
    monkeypatch.setattr(module, "free_bytes", lambda _: free[0])
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    with Collector(tmp_path, CollectionOptions(), lambda what: counts.update([what])) as collector:
        for number in range(3):
            collector.keep(shown_frame(number), CHOICE)
            until(lambda number=number: counts["collect_dropped"] == number + 1)  # type: ignore[misc]
            time.sleep(0.02)
        assert [each.getMessage()[:18] for each in caplog.records] == ["collecting pauses:"]
        free[0] = 1 << 40
        collector.keep(shown_frame(4), CHOICE)
        until(lambda: counts["collected"] == 1)
    assert "goes on" in caplog.text


def test_one_that_is_there_and_cannot_be_opened_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """A full or damaged disk at the start: frames are answered all the same."""
    counts: Counter[str] = Counter()
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    Collection.open(tmp_path, create=True).close()
    whole = (tmp_path / DATABASE).read_bytes()
    (tmp_path / DATABASE).write_bytes(whole[:100] + bytes(len(whole) - 100))
    with Collector(tmp_path, CollectionOptions(), lambda what: counts.update([what])) as collector:
        assert "collecting pauses: " in caplog.text
        (tmp_path / DATABASE).write_bytes(whole)
        time.sleep(0.02)
        collector.keep(shown_frame(1), CHOICE)
        until(lambda: counts["collected"] == 1)
        assert collector._memory == []  # it knows that nothing was kept before
    assert "goes on" in caplog.text


def test_what_is_no_collection_is_refused_at_once(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / DATABASE) as other:
        other.execute("CREATE TABLE something (else_ TEXT)")
    other.close()
    with pytest.raises(CollectionError, match="a database of something else"):
        Collector(tmp_path, CollectionOptions(), lambda _: None)


def test_a_folder_that_vanishes_pauses_and_one_that_comes_back_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    folder, away = tmp_path / "kept", tmp_path / "away"
    with Collector(folder, CollectionOptions(), lambda what: counts.update([what])) as collector:
        collector.keep(shown_frame(1), CHOICE)
        until(lambda: counts["collected"] == 1)
        shutil.move(folder, away)
        folder.mkdir()  # a mount point without its disk
        collector.keep(shown_frame(2), CHOICE)
        until(lambda: counts["collect_dropped"] == 1)
        time.sleep(0.02)
        collector.keep(shown_frame(3), CHOICE)
        until(lambda: counts["collect_dropped"] == 2)
        assert list(folder.iterdir()) == []
        folder.rmdir()
        shutil.move(away, folder)
        time.sleep(0.02)
        collector.keep(shown_frame(4), CHOICE)
        until(lambda: counts["collected"] == 2)
    with Collection.open(folder) as kept:
        assert [each.taken_at for each in kept.pictures()] == [1001.0, 1004.0]


def test_it_remembers_what_was_kept_before(tmp_path: Path) -> None:
    seen = Sighting("gate", "left", 0.0, {}, np.asarray([1, 2, 3], np.float32), changed=True)
    options = CollectionOptions(random_share=0)
    with Collector(tmp_path, options, lambda _: None) as collector:
        first = collector.choose(seen)
        assert first is not None
        assert first.novelty > 1000
        collector.keep(Shown(np.zeros((8, 8, 3), np.uint8), lambda i: i, seen, {}, "", ""), first)
    with Collector(tmp_path, options, lambda _: None) as collector:
        again = collector.choose(seen)
        assert again is not None
        assert again.novelty == 0
