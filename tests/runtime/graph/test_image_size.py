"""Sizes of pictures: one number for a square as ever, a height and a width for the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.errors import ManifestError
from snow_runtime.graph.image_size import LARGEST_SIZE, height_width, size_of, size_text
from snow_runtime.graph.manifest import InputEntry, Manifest, Preprocessing, SourceEntry, TaskEntry

SIDES = st.integers(1, 12000)
OLD = (
    '{"features":null,"format":1,"input":{"colour":"rgb","dtype":"float32","layout":"NCHW",'
    '"name":"image"},"layout":"separate","precision":"fp32","preprocessing":{"image_size":224,'
    '"mean":[0.485,0.456,0.406],"resize_size":256,"std":[0.229,0.224,0.225]},"quantisation":null,'
    '"self_check":null,"source":{"architecture":"resnet18","parameters":1,"sha256":"'
    + "a" * 64
    + '"},"tasks":[{"labels":["x","y"],"name":"t","output":"t"}],"versions":{}}'
)
"""As it was written before there were other shapes."""


def manifest(preprocessing: Preprocessing) -> Manifest:
    task = TaskEntry("t", "t", ("x", "y"))
    return Manifest(SourceEntry("resnet18", "a" * 64, 1), preprocessing, (task,))


@given(SIDES, SIDES)
def test_a_size_is_one_number_exactly_where_it_is_a_square(height: int, width: int) -> None:
    found = size_of(height, width)
    assert isinstance(found, int) == (height == width)
    assert height_width(found) == (height, width)
    assert size_text(found) == (str(height) if height == width else f"{height} x {width}")


@given(SIDES, SIDES)
def test_both_forms_of_a_square_are_the_same_manifest(height: int, width: int) -> None:
    pairs = Preprocessing.for_size((height, width))
    resized = tuple(round(side * 256 / 224) for side in (height, width))
    assert height_width(pairs.resize_size) == resized
    found = Manifest.from_json(manifest(pairs).to_json())
    assert found.preprocessing == pairs
    written = json.loads(found.to_json())["preprocessing"]["image_size"]
    assert written == (height if height == width else [height, width])
    assert InputEntry().picture_shape(pairs.image_size) == (3, height, width)
    frames = InputEntry(dtype="uint8", layout="NHWC")
    assert frames.picture_shape(pairs.image_size) == (height, width, 3)


def test_a_manifest_of_one_number_is_read_and_written_as_ever() -> None:
    old = Manifest.from_json(OLD)
    assert old.preprocessing == Preprocessing.for_size(224)
    kept = {"image_size": 224, "resize_size": 256}
    assert kept.items() <= json.loads(old.to_json())["preprocessing"].items()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("image_size", [180], "a side in pixels, or a height and a width"),
        ("image_size", [180, 320, 3], "a side in pixels, or a height and a width"),
        ("image_size", [180, 0], "whole number from 1 to 16384"),
        ("image_size", [180, 320.0], "whole number from 1 to 16384"),
        ("image_size", [LARGEST_SIZE + 1, 32], "whole number from 1 to 16384"),
        ("image_size", "180x320", "whole number from 1 to 16384"),
        ("resize_size", [180, 319], "expected 180 x 320 or more"),
        ("resize_size", 319, "expected 180 x 320 or more"),
    ],
)
def test_what_is_no_size_is_refused(field: str, value: Any, said: str) -> None:
    good = Preprocessing((180, 320), (200, 320), (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ManifestError, match=f"{field}.*{said}"):
        replace(good, **{field: value})


def test_a_picture_may_be_resized_to_cover_a_square() -> None:
    assert Preprocessing((180, 320), (400, 400), (0.5,) * 3, (0.5,) * 3).resize_size == 400
