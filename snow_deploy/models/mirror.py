"""A thin copy of the source, from the image or from one of the source's tensors on."""

from __future__ import annotations

import operator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.anatomy import HEAD, input_of, is_dense
from snow_deploy.models.channel_cuts import divided_cuts, is_arithmetic
from snow_deploy.models.channel_shapes import EXPANSIONS, RESHAPES, divided_shape
from snow_deploy.models.free_tensors import companions, free_tensor
from snow_deploy.models.mirrored_part import find_part
from snow_deploy.models.network import look_up
from snow_deploy.models.resized_layers import (
    divide,
    groups_like,
    narrowed_convolution,
    resized_layer,
)
from snow_export.own_layers import FixedFilter2d
from snow_export.trace.in_place import memory_of, protect, written_input
from snow_export.trace.nodes import layer_of, run_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snow_deploy.models.anatomy import Subscription
    from snow_deploy.models.source import Source

POOLING = "pooling"
"""The copy's submodule that holds its subscriptions."""
OVERWRITTEN = "overwritten"
"""Mark in a node's meta: a later node writes into its tensor."""


class Mirror:
    """Builds a thin copy of the source by walking its graph on two shapes at once.

    Every node is run on small tensors as soon as it is mirrored, so that each layer's width
    follows from what really arrives there: concatenations, channel shuffles and squeeze
    branches need no rules of their own.
    """

    def __init__(
        self,
        source: Source,
        num_classes: int,
        *,
        width: int = 1,
        subscribe: Callable[[int], nn.Module] | None = None,
        begin: str | None = None,
        left_out: Mapping[str, str] = MappingProxyType({}),
        reads_head: bool = True,
    ) -> None:
        """Say what to mirror.

        Args:
            source: The original.
            num_classes: Number of classes of the copy's classifier.
            width: Each layer has 1 / width of the source's channels.
            subscribe: Function that makes a subscription to a source tensor of so many channels.
                Without it the copy reads nothing of the source but where it begins.
            begin: Key of the source's feature that takes the place of everything before it;
                None begins at the image.
            left_out: Blocks that are not mirrored: what each puts out, and what it reads, as names
                of nodes.
            reads_head: Whether the classifier of a copy that subscribes also reads what the
                source's does.
        """
        self.source = source
        self.anatomy = source.anatomy
        self.blueprint = source.blueprint
        self.num_classes = num_classes
        self.width = width
        self.subscribe = subscribe
        self.begin = begin
        self.left_out = left_out
        self.reads_head = reads_head
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.subscription_of = {
            reader: item for item in self.anatomy.subscriptions for reader in item.readers
        }
        self.nodes: dict[fx.Node, fx.Node] = {}  # the source's node -> the copy's
        self.values: dict[fx.Node, Any] = {}  # the copy's node -> a value of its shape
        self.originals: dict[
            fx.Node, Any
        ] = {}  # the source's node -> a value, once it is asked for
        self.subscribed: dict[str, fx.Node] = {}
        self.shapes = {item.name: item.shape for item in self.anatomy.subscriptions}
        self.shapes[HEAD] = self.anatomy.head_shape
        self.makers = {item.name: item.node for item in self.anatomy.subscriptions}
        self.makers[HEAD] = self.anatomy.head_node

    def build(self) -> fx.GraphModule:
        """Return the copy, images and features in, logits out, in training mode.

        Raises:
            SourceError: A layer cannot be mirrored.
        """
        self.image = self.graph.placeholder("images")
        self.values[self.image] = torch.zeros(self.anatomy.image_shape)
        self.inputs = self.graph.placeholder("features")
        makes = None if self.begin is None else self.makers[self.begin]
        part = find_part(self.blueprint.graph, makes, self.left_out)
        for node in part.nodes:
            if node.op == "placeholder":
                self.nodes[node] = self.image
            elif self.begin is not None and node is part.begin:
                self.nodes[node] = self._feature(self.begin)
            elif node in part.stands_for:
                self.nodes[node] = self.nodes[part.stands_for[node]]
            elif node.op == "get_attr":
                continue  # mirrored when it is read, by what it meets there
            elif node.op == "output":
                self.graph.output(self.nodes[input_of(node)])
            else:
                self.nodes[node] = self._mirror_checked(node)
        self.graph.lint()
        network = fx.GraphModule(self.root, self.graph, class_name="Mirror")
        looked_up = [node for node in self.graph.nodes if node.target is look_up]
        protect(network, self.values, given=[self.image, *looked_up])  # others read them too
        _mark_overwritten(network, self.values)
        return network.train()

    def _mirror_checked(self, node: fx.Node) -> fx.Node:
        try:
            for each in node.all_input_nodes:
                if each.op == "get_attr" and each not in self.nodes:
                    self.nodes[each] = self._parameter(each)
            return self._mirror(node)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            msg = (
                f"{node.name} of the source does not work at 1/{self.width} of the width: "
                f"{error}. Choose another --width, or another CNN as the source."
            )
            raise SourceError(msg) from error

    def _mirror(self, node: fx.Node) -> fx.Node:
        layer = layer_of(self.blueprint, node)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if node.target == self.anatomy.classifier:
                return self._classifier(node, layer)
            if isinstance(layer, nn.Conv2d):
                return self._convolution(node, layer)
        if layer is not None:
            arrives = self._value(node)
            return self._call(str(node.target), self._resized(node, layer, arrives), node)
        copied = self.graph.node_copy(node, lambda arg: self.nodes[arg])
        cuts = divided_cuts(
            *(node, self.width),
            lambda: self._original(input_of(node)).shape[1],
            lambda: self._arriving(node),
        )
        if cuts is None and self.width > 1 and node.target in RESHAPES | EXPANSIONS:
            shapes = self._original(input_of(node)).shape, self._original(node).shape
            cuts = divided_shape(node, shapes, self._value(node).shape, self.width)
        if cuts is not None:
            copied.args = fx.node.map_arg(cuts, lambda arg: self.nodes[arg])
        elif is_arithmetic(copied):
            self._match_widths(copied)
        return self._record(copied)

    def _match_widths(self, node: fx.Node) -> None:
        """Let operands of the same width be of the same width, where rounding made them differ.

        The parts of a split, say, are rounded up each for itself. The first channels count.
        """
        read = [arg for arg in node.args if isinstance(arg, fx.Node)]
        shapes: list[Any] = [getattr(self.values[arg], "shape", ()) for arg in read]
        if len(read) != 2 or len(shapes[0]) != 4 or len(shapes[1]) != 4:
            return
        narrow = min(shape[1] for shape in shapes)
        if narrow == 1 or shapes[0][1] == shapes[1][1]:
            return
        wide = read[0] if shapes[0][1] > narrow else read[1]
        with self.graph.inserting_before(node):
            cut = self.graph.call_function(
                operator.getitem, (wide, (slice(None), slice(0, narrow)))
            )
        self._record(cut)
        node.replace_input_with(wide, cut)

    def _arriving(self, node: fx.Node) -> int:
        return self._value(node).shape[1]

    def _original(self, node: fx.Node) -> Tensor:
        """Return one of the source's tensors, of which the shape is real."""
        if not self.originals:
            image = torch.zeros(self.anatomy.image_shape, device="meta")
            self.originals = run_nodes(self.blueprint, image)
        value: Tensor = self.originals[node]
        return value

    def _classifier(self, node: fx.Node, layer: nn.Conv2d | nn.Linear) -> fx.Node:
        """Read the local features, and as asked all of the source's pooled ones."""
        everything = self.nodes[input_of(node)]
        if self.subscribe is not None and self.reads_head:
            everything = self._concatenate(everything, self._feature(HEAD))
        width = self.values[everything].shape[1]
        classifier: nn.Module = nn.Linear(width, self.num_classes)
        if isinstance(layer, nn.Conv2d):
            classifier = narrowed_convolution(layer, width, self.num_classes, groups=1)
        return self._call(str(node.target), classifier, node, everything)

    def _convolution(self, node: fx.Node, layer: nn.Conv2d) -> fx.Node:
        name = str(node.target)
        reads = self.nodes[input_of(node)]
        if self.subscribe is not None and name in self.subscription_of:
            item = self.subscription_of[name]
            if item.name != self.begin:  # all of that tensor is there already
                reads = self._concatenate(reads, self._subscription(self.subscribe, item))
        width = self.values[reads].shape[1]
        if is_dense(layer):
            out, groups = divide(layer.out_channels, self.width), 1
        else:
            out = divide(width * layer.out_channels, layer.in_channels)
            groups = groups_like(layer, width, out)
        return self._call(name, narrowed_convolution(layer, width, out, groups), node, reads)

    def _subscription(self, subscribe: Callable[[int], nn.Module], item: Subscription) -> fx.Node:
        """Subscribe to a source tensor once, however many of the copy's convolutions read it."""
        if item.name not in self.subscribed:
            feature = self._feature(item.name)
            target = f"{POOLING}.{item.name}"
            self.subscribed[item.name] = self._call(target, subscribe(item.channels), None, feature)
        return self.subscribed[item.name]

    def _feature(self, key: str) -> fx.Node:
        node = self.graph.call_function(look_up, (self.inputs, key))
        self.values[node] = torch.zeros(self.shapes[key])
        return node

    def _concatenate(self, local: fx.Node, subscribed: fx.Node) -> fx.Node:
        return self._record(self.graph.call_function(torch.cat, ([local, subscribed], 1)))

    def _resized(self, node: fx.Node, layer: nn.Module, arrives: Tensor) -> nn.Module:
        """Build a fresh layer of the same kind for the width that arrives."""
        if isinstance(layer, nn.Linear):
            out = divide(layer.out_features, self.width)
            return nn.Linear(arrives.shape[-1], out, bias=layer.bias is not None)
        try:
            return self._with_values(str(node.target), resized_layer(layer, arrives, self.width))
        except NotImplementedError as error:
            msg = (
                f"{node.target} is a {type(layer).__name__}, a layer with weights that a delta "
                "cannot mirror yet; choose a source of convolutions, norms and linear layers"
            )
            raise SourceError(msg) from error

    def _with_values(self, name: str, layer: nn.Module) -> nn.Module:
        """Give a layer without weights what it computes with, such as a fixed filter."""
        if not isinstance(layer, FixedFilter2d):
            return layer
        state = self.source.weights.state
        layer.to_empty(device="cpu")
        layer.load_state_dict({key: state[f"{name}.{key}"] for key in layer.state_dict()})
        return layer

    def _parameter(self, node: fx.Node) -> fx.Node:
        """Mirror a tensor that no layer holds, such as a layer scale."""
        name = str(node.target)
        holder, leaf = self._holder(name), name.rpartition(".")[2]
        mirrored = free_tensor(self.source, node, self.width, self._met(node))
        if isinstance(mirrored, nn.Parameter):
            holder.register_parameter(leaf, mirrored)
        else:
            holder.register_buffer(leaf, mirrored)
        return self._record(self.graph.get_attr(name))

    def _met(self, node: fx.Node) -> list[tuple[torch.Size, torch.Size]]:
        """Return the shapes of what a tensor is computed with, in the source and here."""
        there = [each for each in companions(node) if each in self.nodes]
        pairs = [(self._original(each), self.values[self.nodes[each]]) for each in there]
        return [(one.shape, here.shape) for one, here in pairs if isinstance(here, Tensor)]

    def _holder(self, name: str) -> nn.Module:
        """Return the (new) parent module of a dotted name."""
        holder = self.root
        for part in name.split(".")[:-1]:
            if not hasattr(holder, part):
                holder.add_module(part, nn.Module())
            holder = getattr(holder, part)
        return holder

    def _call(
        self, target: str, layer: nn.Module, node: fx.Node | None, reads: fx.Node | None = None
    ) -> fx.Node:
        """Add a layer under its source name and call it; a layer called twice is shared."""
        holder, leaf = self._holder(target), target.rpartition(".")[2]
        if not hasattr(holder, leaf):
            holder.add_module(leaf, layer)
        if reads is None:
            if node is None:  # pragma: no cover - callers give one of the two
                raise ValueError(target)
            reads = self.nodes[input_of(node)]
        return self._record(self.graph.call_module(target, (reads,)))

    def _value(self, node: fx.Node) -> Tensor:
        value: Tensor = self.values[self.nodes[input_of(node)]]
        return value

    def _record(self, node: fx.Node) -> fx.Node:
        """Run a new node in eval mode (one picture cannot feed a BatchNorm in training)."""
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda arg: self.values[arg])
        with torch.no_grad():
            if node.op == "call_module":
                value = self.root.get_submodule(str(node.target)).eval()(*args, **kwargs)
            elif node.op == "call_function":
                value = node.target(*args, **kwargs)  # type: ignore[operator]
            elif node.op == "call_method":
                value = getattr(args[0], str(node.target))(*args[1:], **kwargs)
            else:
                value = self.root
                for part in str(node.target).split("."):
                    value = getattr(value, part)
        self.values[node] = value
        return node


def _mark_overwritten(network: fx.GraphModule, values: dict[fx.Node, Any]) -> None:
    """Mark the nodes whose tensors later ones write into."""
    earlier: list[fx.Node] = []
    for node in network.graph.nodes:
        target = written_input(network, node)
        memory = set() if target is None else memory_of(values.get(target))
        for other in earlier:
            if other is target or memory & memory_of(values.get(other)):
                other.meta[OVERWRITTEN] = True
        earlier.append(node)
