"""What the labelling page keeps in memory is bounded, and forgotten in time."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from snow_runtime.app.labelling import known
from snow_runtime.app.labelling.known import Known
from snow_runtime.app.labelling.people import HERE_S, People
from snow_runtime.app.labelling.thumbnails import Thumbnails, scaled
from tests.runtime.app.labelling.scenes import collection_of, features, jpeg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def test_people_leave_when_nothing_is_heard_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    people = People()
    people.saw("Bea")
    now[0] += HERE_S - 1
    people.saw("Ann")
    assert people.here() == ["Ann", "Bea"]
    now[0] += 2
    assert people.here() == ["Ann"]
    for number in range(1000):  # whoever makes names up does not fill the memory
        people.saw(f"somebody {number}")
    assert len(people.here()) == 100


def test_thumbnails_are_made_once_and_the_oldest_go() -> None:
    read: list[int] = []

    def reader(number: int) -> bytes:
        read.append(number)
        return jpeg(0, number, 400, 300)

    size = len(scaled(jpeg(0, 1, 400, 300), 160))
    kept = Thumbnails(kept_bytes=3 * size + size // 2)
    for number in (1, 1, 2, 3, 1, 4, 1, 2):
        data = kept.get(str(number), 160, lambda number=number: reader(number))  # type: ignore[misc]
        assert Image.open(io.BytesIO(data)).size == (160, 120)
    assert read == [1, 2, 3, 4, 2]  # 1 was asked for again and again


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_picture_of_other_colours_is_scaled_too(mode: str) -> None:
    stream = io.BytesIO()
    Image.new(mode, (900, 600)).save(stream, "JPEG")
    with Image.open(io.BytesIO(scaled(stream.getvalue(), 320))) as found:
        assert (found.mode, found.size) == ("RGB", (320, 213))


def test_directions_are_read_once_and_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_KEPT", 4)
    with collection_of(tmp_path / "c", [0, 1, 2, 0, 1, 2]) as collection:
        kept = Known(collection)
        asked: list[list[int]] = []
        features_of = collection.features

        def reading(ids: Sequence[int]) -> NDArray[np.float16]:
            asked.append(list(ids))
            return features_of(ids)

        monkeypatch.setattr(collection, "features", reading)
        first = kept.along([1, 2])
        assert np.array_equal(kept.along([2, 1]), first[::-1])
        kept.along([3, 4, 5])  # 2 was asked for before 1
        kept.along([1, 2])
        assert asked == [[1, 2], [3, 4, 5], [2]]
        wanted = features(0, 0).astype(np.float32)
        np.testing.assert_allclose(first[0], wanted / np.linalg.norm(wanted), rtol=1e-3)
        assert kept.along([]).shape == (0, 0)
