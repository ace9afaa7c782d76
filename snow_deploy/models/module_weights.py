"""A source from any network of torch's: its graph, its weights, and how its pictures are prepared.

What comes out needs the network's own code no more: the graph is written down with the weights.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.anatomy import find_classifier, on_meta_device, output_node
from snow_deploy.models.architectures import COUNTER, NetworkKeys
from snow_deploy.models.choose_weights import choose_weights
from snow_deploy.models.plain.description import describe
from snow_deploy.models.plain.make_plain import make_plain
from snow_deploy.models.source_weights import SourceWeights
from snow_deploy.models.state_dicts import COUNTERS
from snow_export.trace.nodes import layer_of, run_nodes
from snow_runtime.graph.image_size import height_width

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import fx

    from snow_deploy.models.module_facts import ModuleFacts


def weights_of_module(network: nn.Module, facts: ModuleFacts) -> SourceWeights:
    """Take a network with its weights for a source; it stays as it is.

    Args:
        network: Network from [B, 3, S, S] to logits [B, classes], on any device.
        facts: Its name, and how its pictures are prepared.

    Raises:
        SourceError: It cannot be traced, has attention or no classifier at its end, or its values
            are not those of a trained network.
    """
    plain = make_plain(network, height_width(facts.image_size), facts.name)
    _check_classifier(plain, facts)
    graph = describe(plain, facts.name)
    labels = facts.labels
    weights = SourceWeights(
        facts.name,
        _tensors(plain),
        mean=facts.mean,
        std=facts.std,
        origin=facts.origin,
        graph=graph,
        image_size=facts.image_size,
        crop_share=facts.crop_share,
        interpolation=facts.interpolation,
        code_sha256=facts.code_sha256,
    )
    weights.check_values()
    weights.build()
    return weights if labels is None else weights.with_labels(labels)


def _check_classifier(plain: fx.GraphModule, facts: ModuleFacts) -> None:
    """Check that a network ends in one classifier, whose place a task's can take.

    Raises:
        SourceError: It ends in none, or its answers are those of several, put together.
    """
    classifier = find_classifier(plain)
    layer: Any = layer_of(plain, classifier)
    node = output_node(plain.graph).all_input_nodes[0]
    while node is not classifier:
        if _makes_features(plain, node, layer):
            width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
            msg = (
                f"{facts.name} ends in no classifier: {node.name} stands behind {classifier.target}"
                ", its last layer that is a matrix. A task's classifier takes the place of the "
                f"network's own. Give it one, with any weights: nn.Linear({width}, 2)."
            )
            raise SourceError(msg)
        node = node.all_input_nodes[0]
    found = _classifiers(on_meta_device(plain), facts)
    if len(found) > 1:
        msg = (
            f"{facts.name} answers by {len(found)} classifiers, put together: {', '.join(found)}. "
            "A task's classifier takes the place of one: let the network return that one's logits."
        )
        raise SourceError(msg)


def _makes_features(plain: fx.GraphModule, node: fx.Node, last: nn.Module) -> bool:
    """Tell what stands behind a layer within a network, and not behind a classifier."""
    layer = layer_of(plain, node)
    if isinstance(layer, _NORMS):
        return True
    name = getattr(node.target, "__name__", str(node.target))
    activates = isinstance(layer, _ACTIVATIONS) or name in _ACTIVATING
    return activates and isinstance(last, nn.Conv2d) and max(last.kernel_size) > 1


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.Hardswish)
_ACTIVATING = frozenset({"relu", "relu_", "relu6", "leaky_relu", "gelu", "silu", "hardswish"})
"""What SqueezeNet has behind its classifier too, which is a convolution of single pixels."""


def _classifiers(blank: fx.GraphModule, facts: ModuleFacts) -> list[str]:
    """Return the layers whose outputs are put together to a network's answers."""
    images = torch.zeros(1, 3, *height_width(facts.image_size), device="meta")
    values = run_nodes(blank, images)
    waiting = [output_node(blank.graph).all_input_nodes[0]]
    answers = values[waiting[0]].shape[:2]
    found: dict[str, None] = {}
    while waiting:
        node = waiting.pop()
        if isinstance(layer_of(blank, node), nn.Linear | nn.Conv2d):
            found[str(node.target)] = None
        else:
            shapes = ((each, getattr(values[each], "shape", ())) for each in node.all_input_nodes)
            waiting += [each for each, shape in shapes if shape[:2] == answers]
    return list(found)


def _tensors(plain: fx.GraphModule) -> dict[str, Tensor]:
    return {
        key: value.detach().to("cpu", torch.float32, copy=True).contiguous()
        for key, value in plain.state_dict().items()
        if not key.endswith(COUNTER)
    }


def take_weights(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    facts: ModuleFacts,
    key: str | None,
    say: Callable[[str], None],
) -> None:
    """Give a network the weights of a checkpoint, in place, whatever stands before their names.

    A classifier for another number of classes is taken, and the network's made anew for it.

    Args:
        network: The network, with any weights.
        tensors: All of the checkpoint's, by their full names.
        facts: The network's name; its origin names the checkpoint.
        key: Place of the weights in the checkpoint; None where that is plain.
        say: Callback that gets, a line at a time, what was chosen and passed over.

    Raises:
        SourceError: They do not fit.
    """
    keys = keys_of_module(network, facts)
    state = choose_weights(tensors, keys, key, facts.origin, say)
    classes = len(state[f"{keys.classifier}.weight"])
    _resize_classifier(network, keys.classifier, classes)
    own = network.state_dict()
    own.update({name: value.to(own[name].dtype) for name, value in state.items()})
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        msg = f"the weights ({facts.origin}) do not fit {facts.name}: {error}"
        raise SourceError(msg) from error


def keys_of_module(network: nn.Module, facts: ModuleFacts) -> NetworkKeys:
    """Return what the weights of a network are called, and how large they are.

    Raises:
        SourceError: It cannot be traced, or ends in no classifier of its own.
    """
    plain = make_plain(network, height_width(facts.image_size), facts.name)
    classifier = str(find_classifier(plain).target)
    state = {
        key: value
        for key, value in network.state_dict().items()
        if isinstance(value, Tensor) and key.rpartition(".")[2] not in COUNTERS
    }
    if f"{classifier}.weight" not in state:
        msg = (
            f"the classifier of {facts.name} is {classifier}, whose weight is not among its "
            "weights. End the network in an nn.Linear, or let the factory return it with its "
            "weights and leave --weights out."
        )
        raise SourceError(msg)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    return NetworkKeys(
        facts.name,
        shapes,
        frozenset(key for key in shapes if not state[key].is_floating_point()),
        classifier=classifier,
        stem=next((key for key, shape in shapes.items() if len(shape) == 4), ""),
        children=frozenset(name for name, _ in network.named_children()),
    )


def _resize_classifier(network: nn.Module, name: str, classes: int) -> None:
    """Make a classifier for another number of classes, in place."""
    layer: Any = network.get_submodule(name)
    if len(layer.weight) == classes:
        return
    resized = copy.deepcopy(layer)
    resized.weight = nn.Parameter(torch.zeros(classes, *layer.weight.shape[1:]))
    if layer.bias is not None:
        resized.bias = nn.Parameter(torch.zeros(classes))
    for count in ("out_features", "out_channels"):
        if hasattr(resized, count):
            setattr(resized, count, classes)
    network.set_submodule(name, resized)
