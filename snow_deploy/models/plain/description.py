"""A traced network as text: its layers with their options, and what is called in which order.

The text says what to call by name, never how: layers are torch's own and ours, functions those
of torch that compute with tensors. Reading it runs nothing else, whoever wrote it.
"""

from __future__ import annotations

import builtins
import inspect
import json
import math
import operator
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torchvision
from torch import Tensor, fx, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import StochasticDepth

from snow_deploy.errors import SourceError
from snow_deploy.models.plain.rewrite import attribute
from snow_export.own_layers import FixedFilter2d, PaddedConv2d

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FORMAT = 1
_OURS: dict[str, type[nn.Module]] = {
    "snow_export.PaddedConv2d": PaddedConv2d,
    "snow_export.FixedFilter2d": FixedFilter2d,
    "torchvision.LayerNorm2d": LayerNorm2d,
    "torchvision.StochasticDepth": StochasticDepth,
}
_OPTIONS = {
    PaddedConv2d: [*inspect.signature(nn.Conv2d).parameters, "pads"],
    LayerNorm2d: [*inspect.signature(nn.LayerNorm).parameters],
}
"""Names of the options of those whose own signature does not list them."""
_UNWRITTEN = {"device", "dtype", "inplace"}
_MOST_NODES = 100_000


def describe(traced: fx.GraphModule, what: str) -> str:
    """Write a traced network down, without its weights.

    Args:
        traced: Network of torch's layers and functions.
        what: The network, for people.

    Raises:
        SourceError: It calls something that is no layer or function of torch's.
    """
    layers, tensors, nodes = {}, {}, []
    try:
        for node in traced.graph.nodes:
            if node.op == "call_module":
                layers[str(node.target)] = _describe_layer(traced.get_submodule(str(node.target)))
            elif node.op == "get_attr":
                value = attribute(traced, str(node.target))
                if not isinstance(value, Tensor):  # such as the packed weights of quantised layers
                    raise _unknown(type(value).__name__, "a value of type")
                trained = isinstance(value, nn.Parameter)
                whole = str(value.dtype).removeprefix("torch.")
                tensors[str(node.target)] = [list(value.shape), whole, trained]
            nodes.append(_describe_node(node))
    except _UnknownError as error:
        msg = (
            f"{what} uses {error}, which cannot be written into a store; a source is made of "
            "torch's layers and functions. Put those in its place, or take another network."
        )
        raise SourceError(msg) from error
    document = {"format": _FORMAT, "layers": layers, "tensors": tensors, "nodes": nodes}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def build_described(text: str) -> fx.GraphModule:
    """Build what a text describes, with fresh weights, in eval mode.

    Raises:
        SourceError: It is damaged, or names something that is no layer or function of torch's.
    """
    try:
        document = json.loads(text)
        if document["format"] != _FORMAT or len(document["nodes"]) > _MOST_NODES:
            raise _unknown(document["format"], "a network of format")
        root = nn.Module()
        for name, (kind, options) in document["layers"].items():
            _add(root, name, _layer_kind(kind)(**_read_value(options, {})))
        for name, (shape, dtype, trained) in document["tensors"].items():
            value = torch.zeros(shape, dtype=_dtype(dtype))
            _add(root, name, nn.Parameter(value) if trained else value)
        graph = fx.Graph()
        known: dict[str, fx.Node] = {}
        for each in document["nodes"]:
            node = _build_node(graph, each, known)
            known[each["name"]] = node
        graph.lint()
        return fx.GraphModule(root, graph).train(mode=False)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, _UnknownError) as error:
        msg = (
            f"the description of the source's network cannot be read: {error}. It was written by "
            "another version, or is damaged: bring the source into a new store."
        )
        raise SourceError(msg) from error


class _UnknownError(Exception):
    """Something that has no place in a description."""


def _unknown(name: object, kind: str) -> _UnknownError:
    return _UnknownError(f"{kind} {name}")


def _describe_layer(layer: nn.Module) -> tuple[str, Any]:
    kind = next((name for name, known in _OURS.items() if type(layer) is known), None)
    if kind is None:
        kind = f"torch.nn.{type(layer).__name__}"
        if getattr(nn, type(layer).__name__, None) is not type(layer):
            raise _unknown(type(layer).__name__, "a")
    parameters = inspect.signature(type(layer)).parameters
    names = _OPTIONS.get(type(layer)) or list(parameters)
    is_open = any(each.kind is each.VAR_POSITIONAL for each in parameters.values())
    if (
        is_open and type(layer) not in _OPTIONS and layer.state_dict()
    ):  # as torch's recurrent layers are: it is not told how made
        raise _unknown(type(layer).__name__, "a")
    options = {
        name: _option(layer, name)
        for name in names
        if name not in _UNWRITTEN and (hasattr(layer, name) or name == "bias")
    }
    return kind, _write_value(options)


def _option(layer: nn.Module, name: str) -> Any:
    value = getattr(layer, name, None)
    if name == "bias":
        return value is not None
    return tuple(value) if isinstance(value, torch.Size) else value


def _describe_node(node: fx.Node) -> dict[str, Any]:
    target = node.target if isinstance(node.target, str) else _name_function(node.target)
    if node.op == "call_method":
        _check_method(str(target))
    elif target == "builtins.getattr" and node.args[1] not in _ATTRIBUTES:
        raise _unknown(node.args[1], "a tensor's attribute")
    stack = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
    return {
        "op": node.op,
        "name": node.name,
        "target": target,
        "args": _write_value(tuple(node.args)),
        "kwargs": _write_value(dict(node.kwargs)),
        "within": stack,
    }


def _build_node(
    graph: fx.Graph, described: Mapping[str, Any], known: Mapping[str, fx.Node]
) -> fx.Node:
    op, target = described["op"], described["target"]
    if op == "call_function":
        target = _function(target)
    elif op == "call_method":
        _check_method(target)
    elif op not in {"placeholder", "get_attr", "call_module", "output"}:
        raise _unknown(op, "a node")
    args, kwargs = _read_value(described["args"], known), _read_value(described["kwargs"], known)
    node = graph.create_node(op, target, args, kwargs, described["name"])
    node.meta["nn_module_stack"] = {name: (name, None) for name in described["within"]}
    return node


def _write_value(value: Any) -> Any:
    """Write an argument as JSON; what JSON does not have is a table of one entry."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list):
        return [_write_value(each) for each in value]
    for kind, writer in _WRITERS.items():
        if isinstance(value, kind):
            return writer(value)
    raise _unknown(type(value).__name__, "an argument of type")


_WRITERS: dict[Any, Callable[[Any], Any]] = {
    fx.Node: lambda node: {"node": node.name},
    type(...): lambda _: {"ellipsis": True},
    slice: lambda cut: {"slice": [_write_value(each) for each in (cut.start, cut.stop, cut.step)]},
    tuple: lambda values: {"tuple": [_write_value(each) for each in values]},
    dict: lambda table: {"dict": {str(key): _write_value(v) for key, v in table.items()}},
    (torch.dtype, torch.memory_format): lambda it: {"torch": str(it).removeprefix("torch.")},
}


def _read_value(written: Any, known: Mapping[str, fx.Node]) -> Any:
    if isinstance(written, list):
        return [_read_value(each, known) for each in written]
    if not isinstance(written, dict):
        return written
    ((kind, inner),) = written.items()
    if kind == "dict":
        return {key: _read_value(each, known) for key, each in inner.items()}
    readers: dict[str, Callable[[], Any]] = {
        "node": lambda: known[inner],
        "float": lambda: float(inner),
        "ellipsis": lambda: ...,
        "slice": lambda: slice(*(_read_value(each, known) for each in inner)),
        "tuple": lambda: tuple(_read_value(each, known) for each in inner),
        "torch": lambda: _dtype(inner),
    }
    return readers[kind]()


def _dtype(name: str) -> Any:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype | torch.memory_format):
        raise _unknown(name, "a value of torch's")
    return found


def _layer_kind(name: str) -> type[nn.Module]:
    if name in _OURS:
        return _OURS[name]
    found = getattr(nn, name.removeprefix("torch.nn."), None)
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        raise _unknown(name, "a layer")
    return found


@cache
def known_functions() -> dict[str, Any]:
    """Return the functions that may be called, by name: those of torch that compute with tensors.

    They are what torch lets tensor-like classes override; torch.load, say, is none of them.
    """
    found: dict[str, Any] = {}
    overridable = torch.overrides.get_overridable_functions()
    for place in (torch, nn.functional):
        names = {*(each.__name__ for each in overridable[place]), *_NOT_LISTED}
        names |= {f"{name}_" for name in names}  # torch lists few of those that write in place
        known = {name: getattr(place, name, None) for name in names if not name.startswith("_")}
        found |= {f"{place.__name__}.{name}": each for name, each in known.items() if each}
    found |= {f"operator.{name}": getattr(operator, name) for name in _OPERATORS}
    found |= {f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "sqrt", "prod")}
    found |= {f"builtins.{name}": getattr(builtins, name) for name in ("getattr", "max", "min")}
    found["torchvision.ops.stochastic_depth"] = torchvision.ops.stochastic_depth
    return found


_NOT_LISTED = ("hardswish", "hardsigmoid", "logsigmoid", "softplus", "one_hot")
"""Functions on tensors that torch does not list among those that can be overridden."""
_OPERATORS = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "matmul", "getitem"),
    *("iadd", "isub", "imul", "itruediv", "eq", "ne", "lt", "le", "gt", "ge", "abs", "and_", "or_"),
)
_ATTRIBUTES = frozenset({"shape", "ndim", "dtype", "T", "mT"})
"""What `getattr` may ask a tensor for."""


def _name_function(function: Any) -> str:
    if function is _attribute_of_tensor:  # of a network that was written down before
        function = getattr
    for name, known in known_functions().items():
        if known is function:
            return name
    module, name = getattr(function, "__module__", ""), getattr(function, "__name__", function)
    raise _unknown(f"{module}.{name}" if module else name, "the function")


def _function(name: str) -> Any:
    if name not in known_functions():
        raise _unknown(name, "a function")
    return _attribute_of_tensor if name == "builtins.getattr" else known_functions()[name]


def _attribute_of_tensor(value: Any, name: str) -> Any:
    """Return what a tensor says of itself."""
    if name not in _ATTRIBUTES:
        raise _unknown(name, "an attribute")
    return getattr(value, name)


def _check_method(name: str) -> None:
    if name.startswith("_") or not callable(getattr(Tensor, name, None)):
        raise _unknown(name, "a tensor's method")


def _add(root: nn.Module, name: str, value: nn.Module | Tensor) -> None:
    holder: Any = root
    *parents, leaf = name.split(".")
    for part in parents:
        if not hasattr(holder, part):
            holder.add_module(part, nn.Module())
        holder = getattr(holder, part)
    if isinstance(value, nn.Module):
        holder.add_module(leaf, value)
    elif isinstance(value, nn.Parameter):
        holder.register_parameter(leaf, value)
    else:
        holder.register_buffer(leaf, value)
