"""What the exporter has no rule for, as torch.onnx writes it: one layer or function at a time.

A piece is exported by itself, for the shapes of the example with the batch left open, and its nodes
are put where a rule's would stand. Its nodes say in their `doc_string` which piece they are of.
"""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import onnx
import torch
from onnx import inliner, numpy_helper
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from snow_export.emit.emitter import EXAMPLE_BATCH
from snow_export.emit.older_opset import to_opset
from snow_export.errors import ExportError, NoRuleError
from snow_export.quiet_torch import quiet_torch
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_export.emit.emitter import Emitter

MARK: Final = "torch.onnx: "
"""What the `doc_string` of a piece's nodes begins with."""
_OPSET: Final = 18  # the oldest that torch.onnx writes reliably
_written: dict[str, onnx.ModelProto] = {}
"""Pieces without weights, by `Piece.key`: a graph has many alike, and is written several times."""


class Piece(nn.Module):
    """A node of a flat graph by itself, with what it takes apart: tensors in, one tensor out."""

    def __init__(self, emitter: Emitter, node: fx.Node) -> None:
        """Take the node; `reads` are then the nodes whose tensors it wants."""
        super().__init__()
        self.steps = [node]
        for each in node.all_input_nodes:  # a tuple of tensors, of which the node takes one
            value = emitter.examples[each]
            if not isinstance(value, Tensor) and _has_tensors(value):
                self.steps.insert(0, each)
        read = [each for step in self.steps for each in step.all_input_nodes]
        outer = [each for each in dict.fromkeys(read) if each not in self.steps]
        tensors = [each for each in outer if isinstance(emitter.examples[each], Tensor)]
        self.reads = [each for each in tensors if each not in emitter.fixed]
        self.known: dict[fx.Node, Any] = {}
        for each in outer:
            if each not in self.reads:
                self.known[each] = emitter.examples[each]
        self.layers = nn.ModuleDict()
        for number, step in enumerate(self.steps):
            if step.op == "call_module":
                self.layers[str(number)] = emitter.flat.get_submodule(str(step.target))

    def key(self, shapes: list[tuple[int, ...]]) -> str:
        """Return a text that pieces have in common which are the same; empty of one with weights.

        Args:
            shapes: Shape of each tensor that it reads.
        """
        known = any(_has_tensors(value) for value in self.known.values())
        if known or any(True for _ in (*self.parameters(), *self.buffers())):
            return ""
        places = {each: f"%{place}" for place, each in enumerate((*self.reads, *self.steps))}
        values = {**places, **{each: repr(value) for each, value in self.known.items()}}
        told = [
            (
                repr(self.layers[str(number)]) if step.op == "call_module" else repr(step.target),
                fx.node.map_arg((step.args, step.kwargs), values.__getitem__),
            )
            for number, step in enumerate(self.steps)
        ]
        return repr((told, shapes))

    def forward(self, *tensors: Tensor) -> Any:
        """Compute what the node does."""
        values = {**self.known, **dict(zip(self.reads, tensors, strict=True))}
        for number, step in enumerate(self.steps):
            args = fx.node.map_arg(step.args, values.__getitem__)
            kwargs = fx.node.map_arg(step.kwargs, values.__getitem__)
            if step.op == "call_module":
                values[step] = self.layers[str(number)](*args, **kwargs)
            elif step.op == "call_method":
                values[step] = getattr(args[0], str(step.target))(*args[1:], **kwargs)
            else:
                values[step] = step.target(*args, **kwargs)  # type: ignore[operator]
        return values[self.steps[-1]]


def emit_piece(emitter: Emitter, node: fx.Node, lacking: NoRuleError) -> str:
    """Write a node by torch.onnx and return its output's name.

    Args:
        emitter: What it is written to.
        node: A node whose result is one tensor.
        lacking: Why no rule does.

    Raises:
        ExportError: onnxscript is not installed, or torch.onnx cannot write it for this opset.
    """
    reason = str(lacking).partition("; ")[0]
    if importlib.util.find_spec("onnxscript") is None:
        msg = (
            f"{reason}; torch.onnx may write it, but needs onnxscript, which is not installed. "
            f"Install it: {pip_install('export')}"
        )
        raise ExportError(msg) from lacking
    piece = Piece(emitter, node).eval()
    examples = [emitter.examples[each] for each in piece.reads]
    _check_batch(piece, examples, emitter, node)
    key = piece.key([tuple(each.shape) for each in examples])
    try:
        model = _written.get(key) or to_opset(_export(piece, examples), emitter.opset)
    except Exception as error:
        told = next((line for line in _reasons(error) if line.strip()), type(error).__name__)
        msg = (
            f"{reason}, and torch.onnx cannot write it either: {' '.join(told.split())[:300]}. Put "
            "another layer or function in its place, or take another source."
        )
        raise ExportError(msg) from error
    if key:
        _written[key] = model
    kind = _kind(emitter, node)
    return _inline(emitter, model, [emitter.name(each) for each in piece.reads], node, kind)


def pieces_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return what torch.onnx wrote of a graph: names of layers and functions, and their kinds."""
    found = [node.doc_string for node in model.graph.node if node.doc_string.startswith(MARK)]
    return tuple(dict.fromkeys(each.removeprefix(MARK) for each in found))


@torch.no_grad()
def _check_batch(piece: Piece, examples: list[Tensor], emitter: Emitter, node: fx.Node) -> None:
    """Check that each picture is answered by itself, whatever else is in the batch, and always so.

    Raises:
        ExportError: It is not.
    """
    batched = [each.ndim > 0 and each.shape[0] == EXAMPLE_BATCH for each in examples]
    whole: Tensor = emitter.examples[node]
    alone: list[Any] = []
    with suppress(RuntimeError, ValueError, IndexError):
        for place in range(EXAMPLE_BATCH):
            part = slice(place, place + 1)
            taken = (
                each[part] if has else each for each, has in zip(examples, batched, strict=True)
            )
            alone.append(piece(*taken))
    shape = (1, *whole.shape[1:])
    apart = [each for each in alone if isinstance(each, Tensor) and each.shape == shape]
    same = len(apart) == EXAMPLE_BATCH and any(batched)
    if not (same and torch.allclose(torch.cat(apart), whole, 1e-3, 1e-4, equal_nan=True)):
        why = "computes with the batch as a whole, and a graph answers each picture by itself"
        again = piece(*examples)
        if isinstance(again, Tensor) and not torch.equal(again, whole):
            why = "answers otherwise each time, and a graph's answers are always the same"
        msg = f"{emitter.label(node)} ({_kind(emitter, node)}) {why}; it cannot export"
        raise ExportError(msg)


def _has_tensors(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))


def _export(piece: Piece, examples: list[Tensor]) -> onnx.ModelProto:
    if not examples:
        msg = "it reads no tensor of the graph"
        raise ExportError(msg)
    batch = torch.export.Dim("batch")
    open_axes = tuple({0: batch} if each.shape[0] == EXAMPLE_BATCH else None for each in examples)
    with quiet_torch(), torch.no_grad():
        program = torch.onnx.export(
            piece,
            tuple(examples),
            dynamo=True,
            opset_version=_OPSET,
            dynamic_shapes=(open_axes,),
            verbose=False,
        )
    if program is None:
        msg = "it gave no program"
        raise ExportError(msg)
    model: onnx.ModelProto = inliner.inline_local_functions(program.model_proto)
    if len(model.graph.output) != 1:
        msg = f"it gives {len(model.graph.output)} tensors, expected one"
        raise ExportError(msg)
    for node in model.graph.node:
        if node.domain not in {"", "ai.onnx"}:
            msg = f"it needs {node.op_type} of {node.domain}, which is no operator of ONNX"
            raise ExportError(msg)
        if any(attribute.HasField("g") for attribute in node.attribute):
            msg = f"it needs {node.op_type}, with a graph of its own inside"
            raise ExportError(msg)
    return model


def _reasons(error: BaseException) -> Iterator[str]:
    """Yield what an error says, its cause's words first: torch.onnx wraps it in advice."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    for each in reversed(causes):
        yield str(each).strip().partition("\n")[0].rstrip(".")


def _kind(emitter: Emitter, node: fx.Node) -> str:
    if node.op == "call_module":
        return type(emitter.flat.get_submodule(str(node.target))).__name__
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")


def _inline(
    emitter: Emitter, model: onnx.ModelProto, reads: list[str], node: fx.Node, kind: str
) -> str:
    """Put a piece's nodes into the graph, by names of its own; return its output's."""
    label, graph = emitter.label(node), model.graph
    output = graph.output[0].name
    names = dict(zip((each.name for each in graph.input), reads, strict=True))
    for tensor in graph.initializer:
        value = numpy_helper.to_array(tensor)
        names[tensor.name] = emitter.constant(f"{label}.{_plain(tensor.name)}", value)
    names[""] = ""
    for each in graph.node:
        last = output in each.output
        own = label if last else f"{label}.{each.op_type.lower()}"
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in each.attribute}
        made = emitter.add_many(
            each.op_type,
            [names[name] for name in each.input],
            own,
            len(each.output),
            doc_string=f"{MARK}{label} ({kind})",
            **attributes,
        )
        names |= dict(zip(each.output, made, strict=True))
    found: str = names[output]
    return found


def _plain(name: str) -> str:
    """Return the last part of a name that torch.onnx gave."""
    return name.rpartition("/")[2].rpartition(".")[2] or "constant"
