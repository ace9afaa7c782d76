from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from snow_calibration.errors import CalibrationError
from snow_deploy.data import open_data
from snow_deploy.errors import DataError
from snow_deploy.stages.unlabelled import draw_unlabelled
from snow_runtime.graph.manifest import Preprocessing
from snow_runtime.pictures.preprocessing import load_image, resize_and_crop

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import Splits

PREPROCESSING = Preprocessing.for_size(32)


def draw(folder: Path, numbers: range) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Splits]:
    for label, start in (("cat", 0), ("dog", 100)):
        draw(tmp_path / "pets" / "train" / label, range(start, start + 6))
        draw(tmp_path / "pets" / "test" / label, range(start + 50, start + 52))
    splits = open_data(f"imagefolder:{tmp_path / 'pets'}")
    return {"pets": splits, "more": splits}


def test_one_folder_serves_all_tasks_with_one_array(
    data: dict[str, Splits], tmp_path: Path
) -> None:
    draw(tmp_path / "camera", range(200, 230))

    found = draw_unlabelled([str(tmp_path / "camera")], data, PREPROCESSING, 1000)

    assert found["pets"] is found["more"]
    assert found["pets"].shape == (30, 32, 32, 3)
    expected = {
        resize_and_crop(load_image(path), PREPROCESSING).tobytes()
        for path in (tmp_path / "camera").iterdir()
    }
    assert {picture.tobytes() for picture in found["pets"]} == expected
    assert len(draw_unlabelled([str(tmp_path / "camera")], data, PREPROCESSING, 7)["pets"]) == 7


def test_a_folder_for_one_task(data: dict[str, Splits], tmp_path: Path) -> None:
    draw(tmp_path / "camera", range(200, 203))

    assert list(draw_unlabelled([f"more={tmp_path}/camera"], data, PREPROCESSING, 10)) == ["more"]
    for specs, said in (
        ([f"cars={tmp_path}/camera"], "no --data is for a task 'cars'"),
        ([f"more={tmp_path}/camera", f"{tmp_path}/camera"], "'more' has two --unlabelled"),
    ):
        with pytest.raises(CalibrationError, match=said):
            draw_unlabelled(specs, data, PREPROCESSING, 10)


def test_a_camera_that_stands_still_gives_one_picture(
    data: dict[str, Splits], tmp_path: Path
) -> None:
    draw(tmp_path / "camera", range(200, 203))
    frozen = (tmp_path / "camera" / "200.png").read_bytes()
    for number in range(50):
        (tmp_path / "camera" / f"again{number}.png").write_bytes(frozen)

    assert len(draw_unlabelled([f"{tmp_path}/camera"], data, PREPROCESSING, 100)["pets"]) == 3


def test_training_pictures_are_left_out(data: dict[str, Splits], tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="left out 12 pictures of .* that were trained on"):
        found = draw_unlabelled([str(tmp_path / "pets")], data, PREPROCESSING, 100)
    assert len(found["pets"]) == 4

    (tmp_path / "link").symlink_to(tmp_path / "pets" / "train")
    with (
        pytest.warns(UserWarning, match="left out 12"),
        pytest.raises(DataError, match="has 12 pictures, 12 of them trained on"),
    ):
        draw_unlabelled([str(tmp_path / "link")], data, PREPROCESSING, 100)


def test_folders_that_hold_nothing(data: dict[str, Splits], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.png").write_bytes(b"broken")

    with pytest.raises(DataError, match="does not exist"):
        draw_unlabelled([str(tmp_path / "none")], data, PREPROCESSING, 100)
    with pytest.raises(DataError, match="has 0 pictures"):
        draw_unlabelled([str(tmp_path / "empty")], data, PREPROCESSING, 100)
    with (
        pytest.warns(UserWarning, match="skipped 1 pictures that cannot be read"),
        pytest.raises(DataError, match="and 1 unreadable"),
    ):
        draw_unlabelled([str(tmp_path / "broken")], data, PREPROCESSING, 100)
