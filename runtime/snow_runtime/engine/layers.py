"""The layers of a compiled engine, as TensorRT lists them: in its log, or by its inspector.

TensorRT-RTX writes one line a layer to its log, also where no GPU is. TensorRT 10 and 11 give JSON
by the engine inspector, which needs the engine loaded; 10 says format and type in one text, 11 in
two. All of it only with detailed profiling verbosity.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SYNCHRONISATION: Final = frozenset({"signal", "wait"})
"""Kinds of layers that order the streams and launch nothing."""

_LAYER: Final = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+),(?P<rest>.*)$")
_SECTIONS: Final = re.compile(
    r"Inputs: \[(?P<inputs>.*?)\], Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\]"
    r", TacticName"
)
_TENSOR: Final = re.compile(r"Dimensions: \[(?P<shape>[\d,-]*)\].*?Datatype: (?P<dtype>\w+)")
_NODE: Final = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_WORDS: Final = {  # TensorRT's words for types, in all its versions, to those of its own short form
    "float": "Float",
    "fp32": "Float",
    "half": "Half",
    "fp16": "Half",
    "int8": "Int8",
    "bfloat16": "BFloat16",
    "bf16": "BFloat16",
    "int32": "Int32",
    "int64": "Int64",
    "fp8": "FP8",
}
_WORD: Final = re.compile(r"[A-Za-z]+\d*")


@dataclass(frozen=True)
class CompiledLayer:
    """One layer of an engine.

    Attributes:
        name: TensorRT's own.
        kind: Kind of the layer, such as `correlation`, `gemm`, `kgen`, `CaskConvolution`, `signal`.
        dtype: Data type of its first output, in TensorRT's words (`Half`); empty where it is not
            said.
        inputs: Types of its inputs.
        weights: Type of the largest constant that it multiplies by; empty without one.
        weight_count: How many values that constant has.
        nodes: The ONNX nodes that it computes; none for what TensorRT added itself.
    """

    name: str
    kind: str
    dtype: str = ""
    inputs: tuple[str, ...] = ()
    weights: str = ""
    weight_count: int = 0
    nodes: tuple[str, ...] = ()


def parse_line(line: str) -> CompiledLayer | None:
    """Read one line of the layer list in the log; None for any other line."""
    found = _LAYER.match(line)
    if found is None:
        return None
    rest = found["rest"]
    parts = _SECTIONS.search(rest)
    inputs, constants, outputs = (
        [[(it["shape"], it["dtype"]) for it in _TENSOR.finditer(text)] for text in parts.groups()]
        if parts
        else ([], [], [])
    )
    count, weights = max(
        ((_volume(shape), dtype) for shape, dtype in constants if not dtype.startswith("Int3")),
        key=lambda it: it[0],
        default=(0, ""),
    )
    return CompiledLayer(
        found["name"],
        found["kind"],
        outputs[0][1] if outputs else "",
        tuple(dtype for _, dtype in inputs),
        weights,
        count,
        tuple(dict.fromkeys(_NODE.findall(rest))),
    )


def parse_log(lines: Iterable[str]) -> tuple[CompiledLayer, ...]:
    """Read the layers out of a log; none where it lists none."""
    return tuple(layer for line in lines if (layer := parse_line(line)) is not None)


def parse_inspection(text: str) -> tuple[CompiledLayer, ...]:
    """Read what the engine inspector gives as JSON, TensorRT 10's and 11's.

    Layers that are only named (profiling verbosity below detailed) carry nothing but their name.
    """
    return tuple(_inspected(layer) for layer in json.loads(text).get("Layers", ()))


def _inspected(layer: Any) -> CompiledLayer:
    if isinstance(layer, str):
        return CompiledLayer(layer, "", nodes=tuple(_names(layer)))
    inputs, outputs = (
        tuple(_dtype(tensor) for tensor in layer.get(key, ())) for key in ("Inputs", "Outputs")
    )
    constants = [
        (_volume(tensor.get("Dimensions", ())), _dtype(tensor))
        for tensor in layer.get("Constants", ())
    ]
    own = layer.get("Weights")
    if isinstance(own, dict):
        constants.append((int(own.get("Count", 0)), _short(str(own.get("Type", "")))))
    floats = [it for it in constants if not it[1].startswith("Int3")]
    count, weights = max(floats, key=lambda it: it[0], default=(0, ""))
    name = str(layer.get("Name", ""))
    nodes = _NODE.findall(str(layer.get("Metadata", ""))) or list(_names(name))
    return CompiledLayer(
        name,
        str(layer.get("LayerType", "")),
        outputs[0] if outputs else "",
        inputs,
        weights,
        count,
        tuple(dict.fromkeys(nodes)),
    )


def _names(name: str) -> Iterator[str]:
    """Take a fused layer's name apart, as in `conv1 + relu`; TensorRT 10.3 gives no metadata."""
    yield from (part.strip() for part in name.split(" + ") if part.strip())


def _dtype(tensor: Any) -> str:
    said = tensor.get("Datatype") or tensor.get("DataType") or tensor.get("Format/Datatype", "")
    return _short(str(said))


def _short(text: str) -> str:
    """Find the type in what TensorRT says: `Half`, or `Row major linear FP16 format`."""
    for word in _WORD.findall(text):
        if word.lower() in _WORDS:
            return _WORDS[word.lower()]
    return ""


def _volume(shape: Any) -> int:
    sizes = [int(it) for it in shape.split(",") if it] if isinstance(shape, str) else shape
    return math.prod(abs(int(size)) for size in sizes)
