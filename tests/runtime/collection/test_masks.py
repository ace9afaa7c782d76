"""What a region covers is black, and nothing else is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime.collection.faces import FaceFinder
from snow_runtime.collection.masks import black_out, checked_region
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_rectangle_and_a_triangle_are_black_and_the_rest_is_not() -> None:
    image = np.full((40, 60, 3), 200, np.uint8)
    box = ((0.5, 0.0), (1.0, 0.0), (1.0, 0.5), (0.5, 0.5))
    triangle = ((0.0, 0.0), (0.4, 0.0), (0.0, 0.9))
    found = black_out(image, [box, triangle])
    assert (image == 200).all()
    y, x = np.mgrid[:40, :60]
    shares = x / 59, y / 39
    in_box = (shares[0] >= 0.5) & (shares[1] <= 0.5)
    in_triangle = shares[0] / 0.4 + shares[1] / 0.9 <= 1
    hidden = (found == 0).all(axis=2)
    assert hidden[in_box | in_triangle].all()
    beyond = (shares[0] < 0.47) & (shares[0] / 0.4 + shares[1] / 0.9 > 1.1)
    assert (found[beyond] == 200).all()
    assert (found[shares[1] > 0.93] == 200).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_pixel_that_a_region_touches_is_black(seed: int) -> None:
    """Held against sixty-four points in each pixel, by the crossing of a ray with the sides."""
    rng = np.random.default_rng(seed)
    width, height = 23, 17
    region = [tuple(each) for each in rng.random((3 + seed % 3, 2)).tolist()]
    image = np.full((height, width, 3), 200, np.uint8)
    hidden = (black_out(image, [region]) == 0).all(axis=2)
    offsets = (np.arange(8) + 0.5) / 8
    inside = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            across, down = np.meshgrid((x + offsets) / width, (y + offsets) / height)
            inside[y, x] = crossings(across.ravel(), down.ravel(), region).any()
    assert hidden[inside].all()
    grown = np.pad(inside, 1)
    near = [grown[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    assert not hidden[~np.any(near, axis=0)].any()  # and none further off than its neighbour


def crossings(across: Any, down: Any, region: Any) -> Any:
    odd = np.zeros(len(across), bool)
    for (x1, y1), (x2, y2) in zip(region, [*region[1:], region[0]], strict=True):
        between = (y1 > down) != (y2 > down)
        at = x1 + (down - y1) * (x2 - x1) / (y2 - y1 if y2 != y1 else 1)
        odd ^= between & (across < at)
    return odd


def test_a_narrow_strip_and_an_edge_are_covered() -> None:
    image = np.full((10, 10, 3), 200, np.uint8)
    strip = ((0.29, 0.0), (0.31, 0.0), (0.31, 1.0), (0.29, 1.0))
    black = (black_out(image, [strip]) == 0).all(axis=2)
    assert black[:, 2:4].all()
    assert black.sum() == 20


def test_the_whole_picture_and_a_pixel() -> None:
    image = np.full((3, 5, 3), 9, np.uint8)
    assert (black_out(image, [((0, 0), (1, 0), (1, 1), (0, 1))]) == 0).all()
    assert (black_out(image, [((0.5, 0.5),) * 3]) == 0).all(axis=2).sum() == 1


@pytest.mark.parametrize(
    "points",
    [[], [[0, 0], [1, 1]], [[0, 0], [1, 1], [1]], [[0, 0], [1, 1], [1, 1.1]], [[0, 0, 0]] * 3],
)
def test_what_is_no_region_is_refused(points: list[list[float]]) -> None:
    with pytest.raises(InputError, match="three points"):
        checked_region(points)


def face_model(path: Path) -> Path:
    """Write a network with YuNet's outputs, to which a face is a bright square of a stride's size.

    For each stride there are scores of class and object `[1, N, 1]`, boxes `[1, N, 4]` and
    landmarks `[1, N, 10]` of the N cells; a box of zeros is the cell's size, around its corner.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    nodes, outputs = [], []
    constants: dict[str, Any] = {"scale": np.array([1 / 255], np.float32)}
    for width in (1, 4, 10):
        constants[f"shape_{width}"] = np.array([1, -1, width])
        constants[f"repeat_{width}"] = np.zeros((width, 3, 1, 1), np.float32)
    constants["repeat_1"] = np.full((1, 3, 1, 1), 1 / 3, np.float32)
    for stride in (8, 16, 32):
        size = [stride, stride]
        nodes.append(
            helper.make_node(
                "AveragePool", ["input"], [f"mean_{stride}"], kernel_shape=size, strides=size
            )
        )
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            out = f"{name}_{stride}"
            nodes += [
                helper.make_node("Conv", [f"mean_{stride}", f"repeat_{width}"], [f"{out}.c"]),
                helper.make_node("Transpose", [f"{out}.c"], [f"{out}.t"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{out}.t", f"shape_{width}"], [f"{out}.r"]),
                helper.make_node("Mul", [f"{out}.r", "scale"], [out]),
            ]
            shape = [1, None, width]
            outputs.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, shape))
    order = [f"{name}_{stride}" for name in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]
    outputs.sort(key=lambda each: order.index(each.name))
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "h", "w"])]
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "faces", inputs, outputs, values)
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def test_faces_are_covered_with_a_margin_where_opencv_finds_them(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    find = FaceFinder(face_model(tmp_path / "faces.onnx"))
    image = np.zeros((96, 200, 3), np.uint8)
    assert find(image) == []
    image[32:64, 64:96] = 255  # a cell of stride 32; its box is around the cell's corner
    regions = find(image)
    hidden = (black_out(np.full_like(image, 200), regions) == 0).all(axis=2)
    rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
    assert hidden[16:48, 48:80].all()  # what OpenCV says
    assert abs(rows[0] - 8) <= 1  # and a quarter of it more
    assert abs(columns[0] - 40) <= 1
    assert rows[-1] <= 72
    assert columns[-1] <= 104
    for height, width in ((33, 47), (64, 320)):  # of any size
        assert find(np.zeros((height, width, 3), np.uint8)) == []


def test_what_is_no_model_of_faces_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    model = tmp_path / "faces.onnx"
    with pytest.raises(InputError, match="no model of faces"):
        FaceFinder(model)
    model.write_bytes(b"not a model")
    with pytest.raises(InputError, match="that OpenCV can load"):
        FaceFinder(model)
