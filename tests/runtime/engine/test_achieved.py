from __future__ import annotations

import pytest

from snow_runtime.engine.achieved import Achieved, achieved
from snow_runtime.engine.layers import CompiledLayer
from snow_runtime.errors import EngineError


def layer(
    node: str, weights: str, inputs: str, *, kind: str = "correlation", count: int = 100
) -> CompiledLayer:
    return CompiledLayer(f"{node}_0", kind, "Half", (inputs,), weights, count, (node,))


LAYERS = [
    layer("stem", "Float", "Float", kind="kgen", count=50_000),  # pads the picture
    layer("stem", "Half", "Half"),
    layer("deep", "Half", "Float"),
    layer("wide", "Int8", "Int8"),
    layer("wide", "Half", "Half", kind="kgen", count=9_000),  # rounds the result
    layer("thin", "Int8", "Int8", kind="kgen"),
]


def test_the_layer_that_multiplies_counts() -> None:
    found = achieved(LAYERS, ["stem", "deep", "wide", "thin", "lost"], "fp16")

    assert found.by_precision == {"int8": 2, "fp16": 1, "fp32": 1, "unknown": 1}
    assert found.others == {"deep": "fp32", "wide": "int8", "thin": "int8", "lost": "unknown"}
    assert found.share == 0.2


def test_only_what_the_graph_quantises_is_demanded() -> None:
    found = achieved(LAYERS, ["stem", "wide", "thin"], "int8", quantised=("wide", "thin"))

    assert (found.in_precision, found.convolutions, found.share) == (2, 2, 1.0)
    lost = achieved(LAYERS, ["wide"], "int8", quantised=("wide", "gone"))
    assert lost.others == {"gone": "unknown"}
    assert found.by_precision == {"int8": 2, "fp16": 1}
    found.demand(1.0)


def test_an_engine_that_is_not_what_was_asked_for_is_refused_by_name() -> None:
    convolutions = [f"conv{number}" for number in range(8)]
    layers = [layer(name, "Float", "Float") for name in convolutions]

    with pytest.raises(EngineError, match=r"not fp16: 0 of 8 .*conv0 \(fp32\), .* and 3 more\."):
        achieved(layers, convolutions, "fp16").demand(0.95)
    achieved(layers, convolutions, "fp16").demand(0)


def test_the_threshold_itself_is_enough() -> None:
    found = Achieved("int8", 20, 19, {"int8": 19, "fp16": 1}, {"a": "fp16"})

    found.demand(0.95)
    with pytest.raises(EngineError, match="expected at least 96%"):
        found.demand(0.96)


def test_a_network_without_convolutions_has_all_of_them() -> None:
    assert achieved([], [], "fp16").share == 1.0
