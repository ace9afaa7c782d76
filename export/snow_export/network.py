"""The shared network: the source once, then every task's head; and its one flat graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, fx, nn

from snow_export.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGITS = "logits"
"""Key of the source's own answer among its features."""


class SharedNetwork(nn.Module):
    """One image batch in, one tensor of logits per task out."""

    def __init__(
        self, source: nn.Module, deltas: Mapping[str, nn.Module], *, with_source: bool = False
    ) -> None:
        """Put deltas on a source.

        Args:
            source: [B, 3, S, S] to a mapping of features, `logits` among them.
            deltas: By task name; each takes the images and the features.
            with_source: Answer with the source's own head too, first, as `source`.
        """
        super().__init__()
        self.source = source
        self.deltas = nn.ModuleList(deltas.values())
        self.tasks = tuple(deltas)
        self.outputs = (("source",) if with_source else ()) + self.tasks
        self.with_source = with_source

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Answer every task, in the order of `outputs`: [B, classes] each."""
        features = self.source(images)
        own = (features[LOGITS],) if self.with_source else ()
        return own + tuple(delta(images, features) for delta in self.deltas)

    def readable(self, target: str) -> str:
        """Name a layer by its owner: `source/layer1.0.conv1`, `food/fc`."""
        owner, _, rest = target.partition(".")
        if owner == "deltas":
            number, _, rest = rest.partition(".")
            owner = self.tasks[int(number)]
        return f"{owner}/{rest.removeprefix('network.')}"


class _LayerTracer(fx.Tracer):
    """Looks into everything but torch's own layers and norms derived from them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, fx.GraphModule):
            return False
        return isinstance(m, nn.LayerNorm) or super().is_leaf_module(m, module_qualified_name)


def flatten(network: SharedNetwork) -> fx.GraphModule:
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
    flat.graph.eliminate_dead_code()
    flat.graph.lint()
    return flat
