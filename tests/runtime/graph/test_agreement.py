from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_runtime.errors import ManifestError
from snow_runtime.graph.agreement import TensorSpec, check_agreement

if TYPE_CHECKING:
    from snow_runtime.graph.manifest import Manifest

IMAGE = TensorSpec("image", "float32", (None, 3, 8, 8))
FOOD = TensorSpec("food", "float32", (None, 4))
BIRDS = TensorSpec("birds", "float32", (None, 2))


@pytest.mark.parametrize(
    ("image", "food"),
    [
        (IMAGE, FOOD),
        (TensorSpec("image", "float32", (1, None, None, None)), FOOD),
        (IMAGE, TensorSpec("food", "float32", (1, 4))),
    ],
)
def test_agreeing_graphs_pass(manifest: Manifest, image: TensorSpec, food: TensorSpec) -> None:
    check_agreement(manifest, [image], [TensorSpec("more", "int64", ()), BIRDS, food])


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [IMAGE, IMAGE],
        [TensorSpec("frame", "float32", (None, 3, 8, 8))],
        [TensorSpec("image", "float16", (None, 3, 8, 8))],
        [TensorSpec("image", "float32", (None, 3, 8))],
        [TensorSpec("image", "float32", (None, 1, 8, 8))],
        [TensorSpec("image", "float32", (None, 3, 8, 9))],
    ],
)
def test_another_input_is_refused(manifest: Manifest, inputs: list[TensorSpec]) -> None:
    with pytest.raises(ManifestError, match=r"expected one input 'image' float32 \[any, 3, 8, 8\]"):
        check_agreement(manifest, inputs, [FOOD, BIRDS])


@pytest.mark.parametrize(
    ("food", "message"),
    [
        (TensorSpec("meals", "float32", (None, 4)), "expected an output 'food' float32"),
        (TensorSpec("food", "float32", (None, 5)), r"the graph has 'food' float32 \[any, 5\]"),
        (TensorSpec("food", "float32", (None, None)), "for the 4 labels"),
        (TensorSpec("food", "float16", (None, 4)), "float16"),
        (TensorSpec("food", "float32", (None, 4, 1)), r"\[any, 4, 1\]"),
    ],
)
def test_another_output_is_refused(manifest: Manifest, food: TensorSpec, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        check_agreement(manifest, [IMAGE], [food, BIRDS])
