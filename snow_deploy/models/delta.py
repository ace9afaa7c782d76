"""The delta: a task's own thin copy of the source, subscribed to the source's features."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.anatomy import HEAD, input_of, is_dense, module_of
from snow_deploy.models.network import TaskNetwork
from snow_deploy.models.pooling import ChannelPooling, PoolingNorm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.models.source import Source

POOLING = "pooling"
"""The delta's submodule that holds one ChannelPooling per subscription."""


@dataclass(frozen=True)
class DeltaOptions:
    """The shape of a delta.

    Attributes:
        k: Each subscription keeps N / k of its N source channels.
        width: Each layer has 1 / width of the source's channels.
        sigma2: Variance of the pooling's exploration noise.
        pooling_norm: Where each pooling has a BatchNorm: `before` its weights, `after` them (they
            are then never trained), or `none`.
        pooling_relu: ReLU after each pooling.
    """

    k: int = 8
    width: int = 8
    sigma2: float = 1e-3
    pooling_norm: PoolingNorm = "before"
    pooling_relu: bool = True


def divide(channels: int, divisor: int) -> int:
    """Divide a width, rounding up, so that nothing ever gets no channel at all."""
    return -(-channels // divisor)


class Delta(TaskNetwork):
    """A task's network: images and the source's features in, logits out."""

    def __init__(self, source: Source, num_classes: int, options: DeltaOptions) -> None:
        """Mirror the source's graph with every width divided; fresh weights, channels_last.

        Raises:
            SourceError: The source has a layer that cannot be mirrored.
        """
        super().__init__()
        self.options = options
        self.num_classes = num_classes
        self.classifier = source.anatomy.classifier
        self.source_features = source.anatomy.head_channels
        self.network = _Mirror(source, num_classes, options).build()
        self.to(memory_format=torch.channels_last)  # always: another layout rounds otherwise

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Answer one task: [B, 3, H, W] images and the source's features to [B, C] logits."""
        logits: Tensor = self.network(images, features)
        return logits

    @torch.no_grad()
    def start_classifier(self, linear: nn.Linear) -> None:
        """Let the classifier begin as one that reads the source's pooled features alone.

        Args:
            linear: From the F pooled source features to the task's classes.

        Raises:
            SourceError: The source's classifier is a convolution, or the sizes differ.
        """
        classifier = self.network.get_submodule(self.classifier)
        local = getattr(classifier, "in_features", 0) - linear.in_features
        fits = isinstance(classifier, nn.Linear) and local >= 0
        if not fits or linear.out_features != self.num_classes:
            msg = (
                f"{self.classifier} cannot begin as a linear classifier of {linear.in_features} "
                f"features and {linear.out_features} classes; train with --recipe paper"
            )
            raise SourceError(msg)
        classifier.weight[:, :local] = 0  # type: ignore[operator]
        classifier.weight[:, local:] = linear.weight  # type: ignore[operator]
        classifier.bias.copy_(linear.bias)  # type: ignore[operator]

    def classifier_gradients(self) -> list[tuple[Tensor, int]]:
        """Return the classifier's gradients after a backward pass, and the features behind each.

        Returns:
            Views, to be changed in place: [num_classes, n, ...] for the n local features,
            [num_classes, F, ...] for the source's F, and the bias's [num_classes], which
            counts as the source's.
        """
        classifier = self.network.get_submodule(self.classifier)
        weight, bias = classifier.get_parameter("weight").grad, classifier.bias
        if weight is None:
            return []
        source = self.source_features
        local = weight.shape[1] - source
        found = [(weight[:, :local], local), (weight[:, local:], source)]
        if isinstance(bias, nn.Parameter) and bias.grad is not None:
            found.append((bias.grad, source))
        return [(gradient, count) for gradient, count in found if count > 0]

    def poolings(self) -> dict[str, ChannelPooling]:
        """Return the channel poolings by subscription name, in the source's order."""
        prefix = f"{POOLING}."
        return {
            name.removeprefix(prefix): layer
            for name, layer in self.network.named_modules()
            if isinstance(layer, ChannelPooling)
        }


class _Mirror:
    """Builds a delta by walking the source's graph on two shapes at once.

    Every node is run on small tensors as soon as it is mirrored, so that each layer's width
    follows from what really arrives there: concatenations, channel shuffles and squeeze
    branches need no rules of their own.
    """

    def __init__(self, source: Source, num_classes: int, options: DeltaOptions) -> None:
        self.anatomy = source.anatomy
        self.blueprint = source.blueprint
        self.num_classes = num_classes
        self.options = options
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.subscription_of = {
            reader: item for item in self.anatomy.subscriptions for reader in item.readers
        }
        self.nodes: dict[fx.Node, fx.Node] = {}  # the source's node -> the delta's
        self.values: dict[fx.Node, Any] = {}  # the delta's node -> a value of its shape
        self.pooled: dict[str, fx.Node] = {}
        self.shapes = {item.name: item.shape for item in self.anatomy.subscriptions}
        self.shapes[HEAD] = self.anatomy.head_shape

    def build(self) -> fx.GraphModule:
        self.image = self.graph.placeholder("images")
        self.values[self.image] = torch.zeros(self.anatomy.image_shape)
        self.inputs = self.graph.placeholder("features")
        for node in self.blueprint.graph.nodes:
            if node.op == "placeholder":
                self.nodes[node] = self.image
            elif node.op == "output":
                self.graph.output(self.nodes[input_of(node)])
            else:
                self.nodes[node] = self._mirror_checked(node)
        self.graph.lint()
        network = fx.GraphModule(self.root, self.graph, class_name="Delta")
        return network.train()

    def _mirror_checked(self, node: fx.Node) -> fx.Node:
        try:
            return self._mirror(node)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            msg = (
                f"{node.name} of the source does not work at 1/{self.options.width} of the width: "
                f"{error}. Choose another --width, or another CNN as the source."
            )
            raise SourceError(msg) from error

    def _mirror(self, node: fx.Node) -> fx.Node:
        layer = module_of(self.blueprint, node)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if node.target == self.anatomy.classifier:
                return self._classifier(node, layer)
            if isinstance(layer, nn.Conv2d):
                return self._convolution(node, layer)
        if layer is not None:
            arrives = self._value(node)
            return self._call(str(node.target), self._resized(node, layer, arrives), node)
        if node.op == "get_attr":
            return self._parameter(node)
        return self._record(self.graph.node_copy(node, lambda arg: self.nodes[arg]))

    def _classifier(self, node: fx.Node, layer: nn.Conv2d | nn.Linear) -> fx.Node:
        """Read the local features and all of the source's pooled ones."""
        everything = self._concatenate(self.nodes[input_of(node)], self._feature(HEAD))
        width = self.values[everything].shape[1]
        classifier: nn.Module = nn.Linear(width, self.num_classes)
        if isinstance(layer, nn.Conv2d):
            classifier = _convolution_like(layer, width, self.num_classes, groups=1)
        return self._call(str(node.target), classifier, node, everything)

    def _convolution(self, node: fx.Node, layer: nn.Conv2d) -> fx.Node:
        name = str(node.target)
        reads = self.nodes[input_of(node)]
        if name in self.subscription_of:
            reads = self._concatenate(reads, self._pooling(name))
        width = self.values[reads].shape[1]
        if is_dense(layer):
            out, groups = divide(layer.out_channels, self.options.width), 1
        else:
            out = divide(width * layer.out_channels, layer.in_channels)
            groups = _groups_like(layer, width, out)
        return self._call(name, _convolution_like(layer, width, out, groups), node, reads)

    def _pooling(self, reader: str) -> fx.Node:
        """Pool a source tensor once, however many of the delta's convolutions read it."""
        subscription = self.subscription_of[reader]
        if subscription.name not in self.pooled:
            options = self.options
            pooling = ChannelPooling(
                subscription.channels,
                divide(subscription.channels, options.k),
                sigma2=options.sigma2,
                norm=options.pooling_norm,
                relu=options.pooling_relu,
            )
            feature = self._feature(subscription.name)
            target = f"{POOLING}.{subscription.name}"
            self.pooled[subscription.name] = self._call(target, pooling, None, feature)
        return self.pooled[subscription.name]

    def _feature(self, key: str) -> fx.Node:
        node = self.graph.call_function(_lookup, (self.inputs, key))
        self.values[node] = torch.zeros(self.shapes[key])
        return node

    def _concatenate(self, local: fx.Node, subscribed: fx.Node) -> fx.Node:
        return self._record(self.graph.call_function(torch.cat, ([local, subscribed], 1)))

    def _resized(self, node: fx.Node, layer: nn.Module, arrives: Tensor) -> nn.Module:
        """Build a fresh layer of the same kind for the width that arrives."""
        options = self.options
        if isinstance(layer, nn.BatchNorm2d):
            return nn.BatchNorm2d(arrives.shape[1], layer.eps, layer.momentum, layer.affine)
        if isinstance(layer, nn.Linear):
            out = divide(layer.out_features, options.width)
            return nn.Linear(arrives.shape[-1], out, bias=layer.bias is not None)
        if isinstance(layer, nn.LayerNorm):
            norm = copy.copy(layer)  # of a subclass, such as torchvision's LayerNorm2d
            channels = divide(layer.normalized_shape[-1], options.width)
            nn.LayerNorm.__init__(norm, channels, layer.eps, layer.elementwise_affine)
            return norm
        if next(layer.parameters(), None) is not None:
            msg = (
                f"{node.target} is a {type(layer).__name__}, a layer with weights that a delta "
                "cannot mirror yet; choose a source of convolutions, norms and linear layers"
            )
            raise SourceError(msg)
        resized = copy.deepcopy(layer)
        if getattr(resized, "inplace", False):  # its input may be subscribed or added later
            resized.inplace = False  # type: ignore[assignment]
        return resized

    def _parameter(self, node: fx.Node) -> fx.Node:
        """Mirror a free parameter (a layer scale): divided like the widths, same first value."""
        name = str(node.target)
        original = self.blueprint
        for part in name.split("."):
            original = getattr(original, part)
        shape = [divide(n, self.options.width) if n > 1 else n for n in original.shape]  # type: ignore[union-attr]
        self._holder(name).register_parameter(
            name.rpartition(".")[2], nn.Parameter(torch.full(shape, 1e-6))
        )
        return self._record(self.graph.get_attr(name))

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
                value = self.root.get_parameter(str(node.target))
        self.values[node] = value
        return node


def _lookup(features: Mapping[str, Tensor], key: str) -> Tensor:
    return features[key]


def _groups_like(layer: nn.Conv2d, width: int, out: int) -> int:
    """Keep the channels of a group, as nearly as the widths allow; depthwise stays depthwise."""
    most = max(1, width * layer.groups // layer.in_channels)
    return next(n for n in range(most, 0, -1) if width % n == 0 and out % n == 0)


def _convolution_like(layer: nn.Conv2d, width: int, out: int, groups: int) -> nn.Conv2d:
    """Build a convolution of the same geometry, initialised as torchvision's ResNets are."""
    convolution = nn.Conv2d(
        width,
        out,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        groups,
        bias=layer.bias is not None,
    )
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution
