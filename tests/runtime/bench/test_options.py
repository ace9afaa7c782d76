from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from snow_runtime.bench.errors import BenchError
from snow_runtime.bench.options import BenchOptions

if TYPE_CHECKING:
    from pathlib import Path


def files(folder: Path, *names: str) -> tuple[Path, ...]:
    paths = tuple(folder / name for name in names)
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return paths


def test_a_missing_contender_and_a_folder_are_named(tmp_path: Path) -> None:
    (there,) = files(tmp_path, "a.onnx")
    with pytest.raises(BenchError, match=r"Cannot measure '.*b\.onnx': there is no such file"):
        BenchOptions((there, tmp_path / "b.onnx"))
    with pytest.raises(BenchError, match="it is a folder"):
        BenchOptions((tmp_path,))


def test_two_contenders_of_the_same_name_are_named(tmp_path: Path) -> None:
    paths = files(tmp_path, "old/snow.onnx", "other.onnx", "new/snow.onnx")
    with pytest.raises(BenchError, match=r"2 contenders are called 'snow\.onnx'.*old.*new"):
        BenchOptions(paths)


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    (path,) = files(tmp_path, "a.onnx")
    with pytest.raises(BenchError, match=r"2 contenders are called 'a\.onnx'"):
        BenchOptions((path, path))


def test_options_are_plain_values(tmp_path: Path) -> None:
    options = BenchOptions(files(tmp_path, "a.onnx"), camera=(640, 480), threads=3)

    document = json.loads(json.dumps(options.to_dict()))

    assert document["camera"] == {"width": 640, "height": 480, "colour": "bgr"}
    assert document["threads"] == 3
