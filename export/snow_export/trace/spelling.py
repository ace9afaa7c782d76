"""One spelling for each operation: torch writes most as a function, a method, with keywords.

The rules that follow, of fusing and of the emitter, then know an operation by one target and by
positional arguments alone.
"""

from __future__ import annotations

import operator
from typing import Any, Final

import torch
from torch import fx, nn
from torch.nn import functional
from torchvision.ops import stochastic_depth

from snow_export.trace.in_place import make_new, read_results
from snow_export.trace.spelling_table import KEYWORDS, SPELLINGS


def respell(traced: fx.GraphModule) -> None:
    """Write every operation that has several spellings in one, in place.

    Calls that write into their input become calls that don't; what changes nothing in evaluation
    is gone. Operations that are not known here stay as they are.
    """
    for node in list(traced.graph.nodes):
        if _changes_nothing(traced, node):
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)
    read_results(traced)
    for node in list(traced.graph.nodes):
        if node.op in {"call_function", "call_method"}:
            make_new(traced, node)
            _take_addcmul_apart(traced.graph, node)
            _take_factor_out(traced.graph, node)
            _respell(node)
    traced.graph.lint()
    traced.recompile()


def _respell(node: fx.Node) -> None:
    found = SPELLINGS.get(node.target)
    if found is None:
        return
    target, read = found
    keywords = {
        KEYWORDS.get(key, key): value
        for key, value in node.kwargs.items()
        if key not in {"inplace", "out", "_stacklevel"}
    }
    try:
        arguments = read(*node.args, **keywords)
    except TypeError:  # an argument that is not known here
        return
    if arguments is not None:
        node.op, node.target, node.args, node.kwargs = "call_function", target, arguments, {}


def _changes_nothing(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Tell whether a node is the identity in evaluation: dropout and stochastic depth."""
    if node.op == "call_module":
        layer = traced.get_submodule(str(node.target))
        return isinstance(layer, (*_DROPPING_LAYERS, nn.Identity))
    place = _DROPPING.get(node.target)
    if place is None:
        return False
    by_default = node.target is not stochastic_depth
    training = node.args[place] if len(node.args) > place else node.kwargs.get("training")
    return not (by_default if training is None else training)


def _take_factor_out(graph: fx.Graph, node: fx.Node) -> None:
    """Write torch's x + alpha * y as a product and a sum."""
    factor = node.kwargs.get("alpha", 1)
    if node.target not in _SCALED or factor == 1:
        return
    keyword = next((name for name in ("other", "x2") if name in node.kwargs), None)
    other = node.args[1] if keyword is None else node.kwargs[keyword]
    with graph.inserting_before(node):
        scaled = graph.call_function(operator.mul, (other, factor))
    kwargs = {key: value for key, value in node.kwargs.items() if key not in {"alpha", keyword}}
    node.args, node.kwargs = (*node.args[:1], *([scaled] if keyword is None else [])), kwargs
    if keyword is not None:
        node.kwargs = {**kwargs, keyword: scaled}


def _take_addcmul_apart(graph: fx.Graph, node: fx.Node) -> None:
    """Write torch's x + value * a * b as products and a sum."""
    if node.target not in {torch.addcmul, "addcmul"} or len(node.args) != 3:
        return
    total, one, other = node.args
    value = node.kwargs.get("value", 1)
    with graph.inserting_before(node):
        product = graph.call_function(operator.mul, (one, other))
        if value != 1:
            product = graph.call_function(operator.mul, (product, value))
    node.op, node.target = "call_function", operator.add
    node.args, node.kwargs = (total, product), {}


_SCALED: Final[frozenset[Any]] = frozenset({torch.add, torch.sub, "add", "sub"})
_DROPPING_LAYERS: Final = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_DROPPING: Final[dict[Any, int]] = {
    functional.dropout: 2,
    functional.dropout2d: 2,
    functional.alpha_dropout: 2,
    functional.feature_alpha_dropout: 2,
    torch.dropout: 2,
    stochastic_depth: 3,
}
"""Where each has its argument `training`."""
