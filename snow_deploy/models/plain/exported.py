"""Reads a network's graph by torch.export, where its Python code cannot be followed by torch.fx.

torch.export gives ATen operators. Those inside a layer of torch's become a call of that layer
again, and the rest become torch's functions: what comes out is what torch.fx would have given.
"""

from __future__ import annotations

import io
import logging
import operator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, fx, nn

from snow_deploy.models.plain.aten_calls import (
    NotExportedError,
    is_first_of_several,
    operator_name,
    torch_call,
)
from snow_deploy.models.plain.rewrite import attribute
from snow_deploy.models.plain.tracer import EXAMPLE_BATCH, is_whole, picture_channels
from snow_export.quiet_torch import quiet_torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def trace_exported(network: nn.Module, image_size: tuple[int, int]) -> fx.GraphModule:
    """Trace a network in eval mode, for any number of pictures of one size.

    Args:
        network: Network from [B, C, H, W] to one tensor; on the CPU.
        image_size: Height and width in pixels.

    Raises:
        NotExportedError: torch.export cannot follow it, or finds what has no place in a source.
    """
    images = torch.zeros(EXAMPLE_BATCH, picture_channels(network, image_size), *image_size)
    program: Any = None
    with _quiet(), torch.no_grad():
        for strict in (False, True):
            try:
                program = _export(network.eval(), images, strict=strict)
                break
            except Exception as error:
                if strict or "specialized it to be a constant" not in str(error):
                    raise NotExportedError(_reason(error)) from error
        exported = program.run_decompositions({}).module(check_guards=False)
    return _Reader(network, exported).read()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch.export from printing the graph that it got to, beside its error."""
    hidden = io.StringIO()
    with quiet_torch(logging.ERROR), redirect_stdout(hidden), redirect_stderr(hidden):
        yield


class _OnePicture(nn.Module):
    """A network with one argument, whatever else its own forward takes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        return self.network(images)


def _export(network: nn.Module, images: Tensor, *, strict: bool) -> Any:
    batch = torch.export.Dim("pictures", min=2)
    return torch.export.export(
        _OnePicture(network), (images,), dynamic_shapes=({0: batch},), strict=strict
    )


def _reason(error: Exception) -> str:
    """Return in a few words why torch.export gave up."""
    told = str(error).strip()
    if "specialized it to be a constant" in told:
        return "it decides by the number of pictures in a batch, such as by a loop over them"
    if "data-dependent" in told:
        return "it decides by the values of tensors"
    return told.partition("\n")[0].rstrip(".") or type(error).__name__


class _Reader:
    """Writes a graph of ATen operators as one of layers and torch's functions."""

    def __init__(self, network: nn.Module, exported: fx.GraphModule) -> None:
        self._network = network
        self._exported = exported
        self._graph = fx.Graph()
        self._made: dict[fx.Node, Any] = {}
        self._root: dict[str, Any] = {}

    def read(self) -> fx.GraphModule:
        """Return the graph that was written, of the network's own layers and tensors."""
        calls, inside = self._layer_calls()
        for node in self._exported.graph.nodes:
            if node in calls:
                name, given = calls[node]
                self._root[name] = self._network.get_submodule(name)
                self._made[node] = self._graph.call_module(name, (self._made[given],))
            elif node not in inside:
                self._made[node] = self._write(node)
            made = self._made.get(node)
            if isinstance(made, fx.Node):
                made.meta.setdefault("nn_module_stack", _stack(node))
        return fx.GraphModule(self._root, self._graph)

    def _layer_calls(self) -> tuple[dict[fx.Node, tuple[str, fx.Node]], set[fx.Node]]:
        """Return the calls of layers that map one tensor to one, and the nodes inside of them.

        A call stands by the node that gives its result: the layer's name, and what it reads.
        """
        groups: dict[str, tuple[str, list[fx.Node]]] = {}
        for node in self._exported.graph.nodes:
            stack = node.meta.get("nn_module_stack")
            if node.op != "call_function" or not stack:
                continue
            call, (path, _) = list(stack.items())[-1]
            if is_whole(self._layer(_inner(path))):
                groups.setdefault(call, (_inner(path), []))[1].append(node)
        calls, inside = {}, set()
        for name, nodes in groups.values():
            read = dict.fromkeys(each for node in nodes for each in node.all_input_nodes)
            given = [each for each in read if each not in nodes and _is_activation(each)]
            results = [node for node in nodes if set(node.users) - set(nodes)]
            if len(given) == len(results) == 1 and _is_activation(results[0]):
                calls[results[0]] = (name, given[0])
                inside.update(nodes)
        return calls, inside

    def _layer(self, name: str) -> nn.Module | None:
        try:
            return self._network.get_submodule(name)
        except AttributeError:  # made in the forward pass
            return None

    def _write(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self._graph.placeholder(node.name)
        if node.op == "get_attr":
            return self._constant(str(node.target), attribute(self._exported, str(node.target)))
        if node.op == "output":
            results: Any = node.args[0]
            if not isinstance(results, tuple) or len(results) != 1 or results[0] not in self._made:
                msg = "it does not return one tensor"
                raise NotExportedError(msg)
            return self._graph.output(self._made[results[0]])
        if node.op == "call_function":
            return self._call(node)
        msg = f"it calls {node.target}"
        raise NotExportedError(msg)

    def _call(self, node: fx.Node) -> Any:
        if not node.users:  # a check, or what the network remembers of a call
            return None
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self._made.__getitem__)
        known = self._without_call(node, args, kwargs)
        if known is not None:
            return known
        is_aten = bool(operator_name(node.target))
        call = torch_call(node.target, args, kwargs) if is_aten else (node.target, args, kwargs)
        if isinstance(call, fx.Node):
            return call
        if isinstance(call[0], str):
            return self._graph.call_method(*call)
        return self._graph.call_function(*call)

    def _without_call(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """Return what a node gives where nothing has to be called for it; None elsewhere."""
        name, reads = operator_name(node.target), node.all_input_nodes
        if node.target is operator.getitem and is_first_of_several(reads[0].target):
            return args[0]
        is_part = node.target is operator.getitem
        is_certain = is_part or (name and not _is_chance(node.target))
        if is_certain and self._are_constant(reads):
            return self._compute(node, args, kwargs)
        if name.removeprefix("new_") in _FILLING:
            return self._filled(node, args, kwargs)
        if name == "slice_scatter":
            return self._written(node, *args)
        if name == "fill":
            number = args[1] if isinstance(args[1], float | int) else self._value(args[1])
            return self._graph.call_function(torch.full_like, (args[0], float(number)))
        return args[1] if name == "copy" and _alike(*reads) else None

    def _are_constant(self, nodes: Iterable[fx.Node]) -> bool:
        return all(self._value(self._made[each]) is not None for each in nodes)

    def _value(self, made: Any) -> Any:
        is_held = isinstance(made, fx.Node) and made.op == "get_attr"
        return self._root[str(made.target)] if is_held else None

    def _compute(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """Compute what depends on weights alone."""
        args, kwargs = fx.node.map_arg((args, kwargs), self._value)
        weights = [str(self._made[each].target) for each in node.all_input_nodes]
        with torch.no_grad():
            value = cast("Any", node.target)(*args, **kwargs)
        if any(isinstance(self._root[each], nn.Parameter) for each in weights):
            is_weight = isinstance(value, Tensor) and value.is_floating_point()
            value = nn.Parameter(value) if is_weight else value
        owner = weights[0].rpartition(".")[0] if weights else ""
        return self._constant(f"{owner}.{node.name}" if owner else node.name, value)

    def _constant(self, target: str, value: Any) -> fx.Node:
        if not isinstance(value, Tensor | list | tuple):  # lists are taken apart
            msg = f"its graph holds a {type(value).__name__}, {target}"
            raise NotExportedError(msg)
        name = _inner(target)
        self._root.setdefault(name, value)
        return self._graph.get_attr(name)

    def _written(  # noqa: PLR0917 - ATen's own arguments
        self,
        node: fx.Node,
        value: fx.Node,
        part: fx.Node,
        axis: int = 0,
        start: int | None = None,
        stop: int | None = None,
        step: int = 1,
    ) -> fx.Node | None:
        """Put a tensor together from what was written into a part of it, and what stands around."""
        size = node.meta["val"].shape[axis]
        if not start and (stop is None or stop >= torch.iinfo(torch.int64).max):
            return part
        if axis < 1 or step != 1 or not isinstance(size, int):
            return None
        first, last, _ = slice(start, stop).indices(size)
        around = [(slice(0, first), first), (slice(last, None), size - last)]
        before, behind = (
            [self._graph.call_function(operator.getitem, (value, (slice(None),) * axis + (cut,)))]
            if width
            else []
            for cut, width in around
        )
        parts = [*before, part, *behind]
        return part if len(parts) == 1 else self._graph.call_function(torch.cat, (parts, axis))

    def _filled(self, node: fx.Node, args: Any, kwargs: Any) -> fx.Node:
        """Write one number in the place of as many alike as there are pictures.

        Raises:
            NotExportedError: Something reads it that would not spread one number by itself.
        """
        name, shape = operator_name(node.target), node.meta["val"].shape
        for user in node.users:
            others = [each for each in user.all_input_nodes if each is not node]
            shapes = [each.meta["val"].shape for each in others if _is_activation(each)]
            if operator_name(user.target) not in _SPREADING or shape not in shapes:
                msg = (
                    f"it makes a tensor for the number of pictures ({name}) and reads it by "
                    f"{user.target}; sums and products alone can be followed"
                )
                raise NotExportedError(msg)
        _, *fill = args[1:] if name.startswith("new_") else args
        kwargs = {**kwargs, "dtype": node.meta["val"].dtype}
        value = getattr(torch, name.removeprefix("new_"))([1] * len(shape), *fill, **kwargs)
        return self._constant(node.name, value)


_SPREADING = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})
_FILLING = frozenset({"zeros", "ones", "full"})


def _inner(path: str) -> str:
    """Return the network's own name for something, without that of what it was wrapped in."""
    return path.removeprefix("network").removeprefix(".")


def _stack(node: fx.Node) -> dict[str, tuple[str, Any]]:
    stack = node.meta.get("nn_module_stack") or {}
    named = [(_inner(path), kind) for path, kind in stack.values()]
    return {name: (name, kind) for name, kind in named if name}


def _is_activation(node: fx.Node) -> bool:
    return node.op != "get_attr" and isinstance(node.meta.get("val"), Tensor)


def _alike(one: fx.Node, other: fx.Node) -> bool:
    first, second = one.meta["val"], other.meta["val"]
    return bool(first.shape == second.shape and first.dtype == second.dtype)


def _is_chance(called: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in called.tags
