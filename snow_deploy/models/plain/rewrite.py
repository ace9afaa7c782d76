"""Makes layers of functions that compute with weights, so that a graph has few kinds of nodes."""

from __future__ import annotations

import copy
import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from snow_deploy.models.plain.function_layers import FUNCTION_LAYERS
from snow_deploy.models.plain.replace_layers import convolution_like
from snow_deploy.models.plain.spread import spread_constants
from snow_export.trace.in_place import read_results, written_input
from snow_export.trace.nodes import layer_of

if TYPE_CHECKING:
    from collections.abc import Callable


@torch.no_grad()
def rewrite(traced: fx.GraphModule) -> fx.GraphModule:
    """Return a traced network as layers of torch's where it computes with weights.

    What is computed from weights alone is computed once. Functions with weights become layers,
    zeros around a picture a part of the convolution that reads them; what does nothing is gone.
    """
    read_results(traced)
    graph = traced.graph
    for node in list(graph.nodes):
        if node.target in _CHECKS:
            graph.erase_node(node)
    for node in list(graph.nodes):
        if _does_nothing(traced, node):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
    _take_largest(graph)
    _ask_at_hand_for_batch(graph)
    graph.eliminate_dead_code()
    _compute_constants(traced)
    spread_constants(graph)
    _reshape_any_layout(traced)
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        if node.op == "call_function" and (rule := FUNCTION_LAYERS.get(node.target)) is not None:
            _become_layer(traced, node, rule)
    for node in list(graph.nodes):
        _count_padding(traced, node)
        _take_padding(traced, node)
    graph.eliminate_dead_code()
    _call_each_once(traced)
    _hold_apart(traced)
    used = {str(node.target) for node in graph.nodes if node.op in {"call_module", "get_attr"}}
    plain = fx.GraphModule({name: attribute(traced, name) for name in used}, graph)
    plain.graph.lint()
    return plain


_LINEAR = (nn.Conv2d, nn.Linear)
_CHECKS = frozenset({torch._assert, torch._assert_async})  # noqa: SLF001
_DROPPING = (functional.dropout, functional.dropout2d, torch.dropout)


def _does_nothing(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(traced.get_submodule(str(node.target))) is nn.Identity
    return node.target in _DROPPING  # traced in eval mode


def _take_largest(graph: fx.Graph) -> None:
    """Ask for the largest or smallest values of an axis without the places that they stand at."""
    for node in graph.nodes:
        if node.target is getattr and node.args[1] in _PARTS:
            node.target, node.args = operator.getitem, (node.args[0], _PARTS[node.args[1]])
        pair = node.args[0] if node.target is operator.getitem and node.args[1] == 0 else None
        if isinstance(pair, fx.Node) and (extreme := _EXTREMES.get(pair.target)) is not None:
            given = dict(zip(("input", "dim", "keepdim"), pair.args, strict=False)) | pair.kwargs
            if isinstance(given.get("dim"), int):
                keep = given.get("keepdim", False)
                node.target, node.args = extreme, (given["input"], given["dim"], keep)


_PARTS = {"values": 0, "indices": 1}
_EXTREMES: dict[Any, Any] = {
    **dict.fromkeys(("max", torch.max), torch.amax),
    **dict.fromkeys(("min", torch.min), torch.amin),
}


def _ask_at_hand_for_batch(graph: fx.Graph) -> None:
    """Let each call ask what it reads for the number of pictures, not the image itself.

    The call then depends on its own input alone, and a copy may begin behind the image.
    """
    image = next(node for node in graph.nodes if node.op == "placeholder")
    sizes = [node for node in graph.nodes if _is_batch_of(node, image)]
    for size in sizes:
        for user in list(size.users):
            reads = user.args[0] if user.args else None
            if not isinstance(reads, fx.Node) or reads in {size, image} or reads.op == "get_attr":
                continue
            with graph.inserting_before(user):
                own = graph.call_method("size", (reads, 0))
            user.replace_input_with(size, own)


def _is_batch_of(node: fx.Node, image: fx.Node) -> bool:
    if node.op == "call_method" and node.target == "size":
        return node.args == (image, 0)
    if node.target is not operator.getitem or node.args[1] != 0:
        return False
    whole = node.args[0]
    return isinstance(whole, fx.Node) and (
        (whole.target is getattr and whole.args == (image, "shape"))
        or (whole.op == "call_method" and whole.target == "size" and whole.args == (image,))
    )


def _compute_constants(traced: fx.GraphModule) -> None:
    """Compute what depends on weights alone, and put it in the place of the weights."""
    values: dict[fx.Node, Any] = {}
    for node in list(traced.graph.nodes):
        if node.op == "get_attr":
            values[node] = attribute(traced, str(node.target))
            continue
        if node.op not in {"call_function", "call_method"} or not node.all_input_nodes:
            continue
        if not all(each in values for each in node.all_input_nodes):
            continue
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
        called = node.target if node.op == "call_function" else getattr(args[0], str(node.target))
        values[node] = called(*(args if node.op == "call_function" else args[1:]), **kwargs)
        if isinstance(values[node], Tensor):
            trained = any(_is_trained(traced, each) for each in node.all_input_nodes)
            name = _free_name(traced, _first_weight(node))
            _put(traced, name, values[node].detach().clone(), trained=trained)
            with traced.graph.inserting_before(node):
                constant = traced.graph.get_attr(name)
            constant.meta = dict(node.meta)
            values[constant] = values[node]
            node.replace_all_uses_with(constant)
        elif isinstance(values[node], _LITERALS):
            literal = values[node]
            value: Any = tuple(literal) if isinstance(literal, torch.Size) else literal
            for user in list(node.users):
                if user.op in {"call_function", "call_method"}:
                    _read_literal(user, node, value)


def _read_literal(user: fx.Node, node: fx.Node, value: Any) -> None:
    """Let a call read a plain value in the place of a node that gives it."""
    user.args, user.kwargs = fx.node.map_arg(
        (user.args, user.kwargs), lambda each: value if each is node else each
    )


_LITERALS = (bool, int, float, torch.Size, torch.device, torch.dtype)


def _is_trained(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "get_attr":
        return False
    value = attribute(traced, str(node.target))
    return isinstance(value, nn.Parameter)


def _first_weight(node: fx.Node) -> str:
    while node.op != "get_attr":
        node = node.all_input_nodes[0]
    return str(node.target)


def _call_each_once(traced: fx.GraphModule) -> None:
    """Give each further call of a layer with weights a copy of the layer.

    What a call reads, and where a norm is folded, is told by the layer. A classifier that answers
    about several views of a picture stays one, since a task's takes its place.
    """
    called: set[str] = set()
    last = [node for node in traced.graph.nodes if isinstance(layer_of(traced, node), _LINEAR)][-1:]
    for node in traced.graph.nodes:
        if node.op != "call_module":
            continue
        name = str(node.target)
        layer = traced.get_submodule(name)
        if name in called and layer.state_dict() and all(name != each.target for each in last):
            node.target = name = _free_name(traced, name)
            traced.add_submodule(name, copy.deepcopy(layer))
        called.add(name)


def _reshape_any_layout(traced: fx.GraphModule) -> None:
    """Let views be reshapes: a source's maps lie in memory channels last, which not all fit.

    Where something is written into the view, or into what it is of, it stays one.
    """
    for node in traced.graph.nodes:
        if node.op == "call_method" and node.target == "view":
            whole = node.args[0]
            readers = [*node.users, *whole.users]
            if not any(written_input(traced, each) in {node, whole} for each in readers):
                node.target = "reshape"


def _hold_apart(traced: fx.GraphModule) -> None:
    """Let no tensor that is read by itself stand in a layer that is called, in place."""
    called = {str(node.target) for node in traced.graph.nodes if node.op == "call_module"}
    moved: dict[str, str] = {}
    for node in [each for each in traced.graph.nodes if each.op == "get_attr"]:
        name = str(node.target)
        owner, _, leaf = name.rpartition(".")
        if owner not in called:
            continue
        if name not in moved:
            moved[name] = _free_name(traced, f"{owner}_{leaf}")
            trained = isinstance(attribute(traced, name), nn.Parameter)
            _put(traced, moved[name], attribute(traced, name).detach().clone(), trained=trained)
        node.target = moved[name]


def attribute(traced: nn.Module, name: str) -> Any:
    """Return a module's tensor by its qualified name."""
    found: Any = traced
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _put(traced: nn.Module, name: str, value: Tensor, *, trained: bool) -> None:
    holder: Any = traced
    *parents, leaf = name.split(".")
    for part in parents:
        if not hasattr(holder, part):
            holder.add_module(part, nn.Module())
        holder = getattr(holder, part)
    if trained:
        holder.register_parameter(leaf, nn.Parameter(value))
    else:
        holder.register_buffer(leaf, value)


def _free_name(traced: nn.Module, wanted: str) -> str:
    number = 1
    while _is_there(traced, f"{wanted}_{number}"):
        number += 1
    return f"{wanted}_{number}"


def _is_there(traced: nn.Module, name: str) -> bool:
    try:
        attribute(traced, name)
    except AttributeError:
        return False
    return True


def _become_layer(
    traced: fx.GraphModule, node: fx.Node, rule: Callable[..., nn.Module | None]
) -> None:
    """Call a layer in the place of a function, where all but its first argument is constant."""
    reads = node.args[0] if node.args else node.kwargs.get("input")
    others = [each for each in node.all_input_nodes if each is not reads]
    if not isinstance(reads, fx.Node) or any(each.op != "get_attr" for each in others):
        return
    values = {each: attribute(traced, str(each.target)) for each in others}
    try:
        args, kwargs = fx.node.map_arg((node.args[1:], node.kwargs), values.__getitem__)
    except KeyError:
        return
    layer = rule(*args, **{key: value for key, value in kwargs.items() if key != "input"})
    if layer is None:
        return
    name = _layer_name(traced, node, others)
    traced.add_submodule(name, layer.train(mode=False))
    with traced.graph.inserting_before(node):
        call = traced.graph.call_module(name, (reads,))
    call.meta = dict(node.meta)
    node.replace_all_uses_with(call)
    traced.graph.erase_node(node)
    for each in others:  # whose tensors have gone into the layer
        if not each.users:
            traced.graph.erase_node(each)


def _layer_name(traced: fx.GraphModule, node: fx.Node, weights: list[fx.Node]) -> str:
    """Name a layer after the module that holds its weights, if nothing else is called in that."""
    kind = str(getattr(node.target, "__name__", "layer"))
    if weights:
        owner = str(weights[0].target).rpartition(".")[0].partition(".parametrizations.")[0]
    else:
        owner = next(reversed([n for n, _ in node.meta.get("nn_module_stack", {}).values()]), "")
    called = {str(each.target) for each in traced.graph.nodes if each.op == "call_module"}
    read = {
        str(each.target)
        for each in traced.graph.nodes
        if each.op == "get_attr" and (each not in weights or len(each.users) > 1)
    }
    taken = called | read
    if owner and not any(name == owner or name.startswith(f"{owner}.") for name in taken):
        return owner
    wanted = f"{owner}.{kind}" if owner else kind
    name, number = wanted, 1
    while name in called or _is_there(traced, name):
        number += 1
        name = f"{wanted}_{number}"
    return name


def _count_padding(traced: fx.GraphModule, node: fx.Node) -> None:
    """Write a convolution's padding in pixels where it is `same` or `valid`."""
    layer = layer_of(traced, node)
    if type(layer) is not nn.Conv2d or not isinstance(layer.padding, str):
        return
    if layer.padding_mode != "zeros":
        return
    left, right, top, bottom = layer._reversed_padding_repeated_twice  # noqa: SLF001
    if left == right and top == bottom:
        layer.padding = (top, left)
    else:
        pads = (left, right, top, bottom)
        padded = convolution_like(layer, layer.weight, layer.bias, pads)
        traced.set_submodule(str(node.target), padded)


def _take_padding(traced: fx.GraphModule, node: fx.Node) -> None:
    """Let a convolution pad by itself what only it reads, zeros around the picture."""
    layer = layer_of(traced, node)
    if type(layer) is not nn.Conv2d or layer.padding not in {(0, 0), "valid"}:
        return
    before = node.all_input_nodes[0]
    pads = _zeros(traced, before)
    calls = [other for other in traced.graph.nodes if other.target == node.target]
    if pads is None or len(calls) != 1:
        return
    left, right, top, bottom = pads
    if left == right and top == bottom:
        layer.padding = (top, left)
        layer._reversed_padding_repeated_twice = [left, left, top, top]  # noqa: SLF001
    else:
        padded = convolution_like(layer, layer.weight, layer.bias, pads)
        traced.set_submodule(str(node.target), padded)
    node.replace_input_with(before, before.all_input_nodes[0])


def _zeros(traced: fx.GraphModule, node: fx.Node) -> tuple[int, int, int, int] | None:
    """Return the zeros that a node puts around pictures; None where it does something else."""
    layer = layer_of(traced, node)
    pads: Any = None
    if type(layer) is nn.ZeroPad2d or (type(layer) is nn.ConstantPad2d and layer.value == 0):
        pads = layer.padding
    elif node.target is functional.pad:
        arguments = dict(zip(("input", "pad", "mode", "value"), node.args, strict=False))
        arguments |= node.kwargs
        if arguments.get("mode", "constant") == "constant" and not arguments.get("value"):
            pads = arguments["pad"]
    known = isinstance(pads, (tuple, list)) and len(pads) == 4
    if not known or not all(isinstance(each, int) and each >= 0 for each in pads):
        return None
    return tuple(pads)
