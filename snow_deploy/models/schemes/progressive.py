"""PN, progressive networks: a full column for each task, with adapters from the source's."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, fx, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.anatomy import HEAD
from snow_deploy.models.fold_source import output_key
from snow_deploy.models.network import look_up, looked_up
from snow_deploy.models.schemes.head import HeadNetwork, build_head
from snow_deploy.models.trunk import build_trunk
from snow_export.trace.nodes import layer_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.models.source import Source

_SHORTCUTS = frozenset({"downsample", "proj"})  # torchvision's names, ResNet's and RegNet's


class ProgressiveColumn(HeadNetwork):
    """A column as wide as the source, random at first (Rusu et al., 2016).

    What each of its convolutions puts out, N channels, is added to a learned 1x1 projection,
    N to N, of what the same convolution puts out in the source; a BatchNorm behind comes after
    the sum. Shortcut convolutions have none. The column is trained, the source is not.
    """

    fuses: ClassVar[bool] = False

    def __init__(self, source: Source, num_classes: int) -> None:
        """Build the column, and let the source return what its adapters read."""
        super().__init__(source, num_classes, build_head(source, num_classes))
        self.network = build_trunk(source, anew=True)
        readers = _add_adapters(self.network)
        source.tap_outputs(readers)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Answer one task: [B, 3, H, W] images and the source's features to [B, C] logits."""
        return super().forward(images, {HEAD: self.network(images, features)})

    @property
    def reads(self) -> tuple[str, ...]:
        """What its adapters read."""
        return looked_up(self.network)

    def start_classifier(self, linear: nn.Linear) -> None:
        """Refuse: the column knows nothing yet of what the source's classifier reads.

        Raises:
            SourceError: Always.
        """
        msg = (
            f"a column begins at random, so a linear classifier of the source's "
            f"{linear.in_features} features is no beginning for it; train with --recipe paper"
        )
        raise SourceError(msg)


def _add_adapters(column: fx.GraphModule) -> list[str]:
    """Add the adapters and the second input, in place; return the names of what they adapt."""
    graph = column.graph
    image = next(node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_after(image):
        features = graph.placeholder("features")
    names: list[str] = []
    column.add_module("adapters", nn.Module())
    for node in list(graph.nodes):
        layer, name = layer_of(column, node), str(node.target)
        if isinstance(layer, nn.Conv2d) and not _SHORTCUTS.intersection(name.split(".")):
            _add_adapter(column, node, features, layer.out_channels)
            names.append(name)
    graph.lint()
    column.recompile()
    return names


def _add_adapter(column: fx.GraphModule, node: fx.Node, features: fx.Node, channels: int) -> None:
    name = str(node.target)
    adapter = nn.Conv2d(channels, channels, 1, bias=False)
    nn.init.kaiming_normal_(adapter.weight, mode="fan_out", nonlinearity="relu")
    target = f"adapters.{name.replace('.', '_')}"
    column.add_submodule(target, adapter)
    graph = column.graph
    with graph.inserting_after(node):
        total = graph.call_function(torch.add)
    node.replace_all_uses_with(total)
    with graph.inserting_before(total):
        output = graph.call_function(look_up, (features, output_key(name)))
        adapted = graph.call_module(target, (output,))
    total.args = (node, adapted)
