from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from onnx import numpy_helper

from snow_runtime.errors import HalfError
from snow_runtime.graph.half_precision import to_fp16

if TYPE_CHECKING:
    from tests.conftest import MakeModel


def test_a_weight_beyond_the_largest_half_is_named(make_model: MakeModel) -> None:
    model = make_model()
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "w3")
    value = numpy_helper.to_array(weight).copy()
    value[0, 0] = 7e4
    weight.CopyFrom(numpy_helper.from_array(value, "w3"))

    with pytest.raises(HalfError, match=r"w3 reaches 7e\+04.*--precision fp32"):
        to_fp16(model)


def test_the_graph_that_was_converted_is_left_alone(make_model: MakeModel) -> None:
    model = make_model()
    before = model.SerializeToString(deterministic=True)

    to_fp16(model)

    assert model.SerializeToString(deterministic=True) == before
