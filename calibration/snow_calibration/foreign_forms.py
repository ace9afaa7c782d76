"""Forms of quantisation other than Q/DQ pairs in ONNX's own operators: TensorRT reads none.

Measured on TensorRT-RTX 1.7: integer operators have no importer; a function gives up at its second
call, whose layers would have the names of the first; Q and DQ of other domains are taken for ONNX's
own by their name alone, which is luck.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from snow_runtime.graph.onnx_file import ONNX_DOMAINS
from snow_runtime.graph.quantised import DQ, Q

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx

_INTEGER: Final = frozenset(
    {
        "DequantizeBFP",
        "DequantizeWithOrder",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "GatherBlockQuantized",
        "MatMulBnb4",
        "MatMulInteger16",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QAttention",
        "QEmbedLayerNormalization",
        "QGemm",
        "QMoE",
        "QuantizeBFP",
        "QuantizeWithOrder",
    }
)
"""Operators that compute on quantised values themselves and are not called by a common rule."""


def is_integer_operator(node: onnx.NodeProto) -> bool:
    """Tell whether a node computes on quantised values itself, as in ONNX Runtime's QOperator form.

    Those are ONNX's own `QLinear…` and `…Integer` and DynamicQuantizeLinear, and the many more of
    ONNX Runtime's domain.
    """
    kind = node.op_type
    by_rule = kind.startswith(("QLinear", "QOrdered")) or kind.endswith("Integer")
    return by_rule or kind in _INTEGER


def is_foreign_pair(node: onnx.NodeProto) -> bool:
    """Tell whether a node is a Q or DQ of another domain than ONNX's own."""
    return node.op_type in {Q, DQ} and node.domain not in ONNX_DOMAINS


def calls(model: onnx.ModelProto) -> Iterator[tuple[str, str, int]]:
    """Yield the functions that are called: the first caller, the function and how often."""
    known = {(function.domain, function.name) for function in model.functions}
    bodies = (model.graph.node, *(function.node for function in model.functions))
    called = [
        (node, (node.domain, node.op_type))
        for body in bodies
        for node in all_nodes(body)
        if (node.domain, node.op_type) in known
    ]
    counts = Counter(key for _, key in called)
    seen = set()
    for node, key in called:
        if key not in seen:
            seen.add(key)
            yield node.name or node.output[0], ".".join(filter(None, key)), counts[key]


def all_nodes(body: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a body, those of the graphs inside its nodes included."""
    for node in body:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from all_nodes(inner.node)
