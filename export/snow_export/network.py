"""The shared network: the source once, then every task's head; and its one flat graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from snow_export.errors import ExportError
from snow_export.inspect.owners import FEATURES, SOURCE, group_name
from snow_export.trace.delta_graph import DERIVED_LAYERS
from snow_export.trace.spelling import respell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOGITS = "logits"
"""Key of the source's own answer among its features."""


class TaskHead(nn.Module):
    """One task's delta as a group of one: images and features in, a tuple of one out."""

    def __init__(self, task: str, delta: nn.Module) -> None:
        """Wrap a delta."""
        super().__init__()
        self.tasks = (task,)
        self.delta = delta

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Answer the task: ([B, classes],)."""
        return (self.delta(images, features),)


class SharedNetwork(nn.Module):
    """One image batch in, one tensor of logits per task out."""

    def __init__(
        self,
        source: nn.Module,
        heads: Sequence[nn.Module],
        outputs: Sequence[str],
        features: Sequence[str] = (),
    ) -> None:
        """Put heads on a source.

        Args:
            source: [B, 3, S, S] to a mapping of features, `logits` among them.
            heads: Each takes the images and the features, has `tasks`, and answers them. What
                several answer of one task is added up.
            outputs: The tasks in the order of the answers; `source` is the source's own head.
            features: Keys of pooled features, [B, N] each, that are given out after the answers,
                as one tensor.
        """
        super().__init__()
        self.source = source
        self.heads = nn.ModuleList(heads)
        self.outputs = tuple(outputs)
        self.features = tuple(features)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What is given out, in order."""
        return (*self.outputs, FEATURES) if self.features else self.outputs

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Answer every task, in the order of `outputs`: [B, classes] each; [B, F] features."""
        features = self.source(images)
        answers = {SOURCE: features[LOGITS]}
        for head in self.heads:
            for task, logits in zip(head.tasks, head(images, features), strict=True):  # type: ignore[arg-type]
                answers[task] = answers[task] + logits if task in answers else logits
        found = tuple(answers[name] for name in self.outputs)
        if not self.features:
            return found
        return (*found, torch.cat([features[key] for key in self.features], 1))

    def readable(self, target: str) -> str:
        """Name a layer by its owner: `source/layer1.0.conv1`, `food/fc`, `food+cub/fc`."""
        owner, _, rest = target.partition(".")
        if owner == "heads":
            number, _, rest = rest.partition(".")
            owner = group_name(self.heads[int(number)].tasks)  # type: ignore[arg-type]
        for wrapper in ("delta.", "network."):
            rest = rest.removeprefix(wrapper)
        return f"{owner}/{rest}"


class _LayerTracer(fx.Tracer):
    """Looks into everything but torch's own layers, and some that are derived from them."""

    def trace(
        self, root: nn.Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None
    ) -> fx.Graph:
        """Note every tensor's name first: torch would look through all of them at each use."""
        tensors = root.state_dict(keep_vars=True) if isinstance(root, nn.Module) else {}
        self.names = {id(tensor): name for name, tensor in reversed(tensors.items())}
        return super().trace(root, concrete_args)

    def create_arg(self, a: Any) -> Any:
        """Read a parameter or buffer by its name."""
        if isinstance(a, Tensor) and id(a) in self.names:
            return self.create_node("get_attr", self.names[id(a)], (), {})
        return super().create_arg(a)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, fx.GraphModule):
            return False
        whole = isinstance(m, DERIVED_LAYERS)
        return whole or super().is_leaf_module(m, module_qualified_name)


def flatten_network(network: SharedNetwork) -> fx.GraphModule:
    """Trace source and deltas into one graph of torch's own layers; what nothing reads is gone.

    Raises:
        ExportError: torch.fx cannot trace the network.
    """
    network.eval()
    try:
        graph = _LayerTracer().trace(network)
    except Exception as error:
        msg = f"torch.fx cannot trace the network for export: {error}"
        raise ExportError(msg) from error
    flat = fx.GraphModule(network, graph)
    respell(flat)
    flat.graph.eliminate_dead_code()
    flat.graph.lint()
    return flat
