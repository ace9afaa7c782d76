"""Reads a network's graph from its Python code: down to torch's own layers and functions."""

from __future__ import annotations

import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import StochasticDepth

from snow_deploy.errors import SourceError
from snow_export.own_layers import OWN_LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE_BATCH = 3
"""Pictures of the example; another number than what is then compared has."""
_WHOLE = (*OWN_LAYERS, LayerNorm2d, StochasticDepth)


def trace_plainly(network: nn.Module, image_size: tuple[int, int], what: str) -> fx.GraphModule:
    """Trace a network in eval mode; what depends on sizes alone is decided for the size given.

    Args:
        network: Network from [B, C, H, W] to one tensor; on the CPU.
        image_size: Height and width in pixels.
        what: The network, for people.

    Raises:
        SourceError: Its code asks for the values of what it computes, or it does not map one image
            to one tensor; the message names the line.
    """
    tracer = PlainTracer(image_size)
    try:
        graph = tracer.trace(network.eval())
    except Exception as error:
        raise SourceError(_cannot_trace(what, error)) from error
    inputs = [node for node in graph.nodes if node.op == "placeholder" and node.users]
    output = next(node for node in reversed(graph.nodes) if node.op == "output").args[0]
    if len(inputs) != 1 or not isinstance(output, fx.Node):
        msg = (
            f"{what} takes {len(inputs)} tensors and returns a {type(output).__name__}; a source "
            "takes one image batch and returns one tensor of logits. Wrap it in a module that does."
        )
        raise SourceError(msg)
    for node in [each for each in graph.nodes if each.op == "placeholder" and not each.users]:
        graph.erase_node(node)
    return fx.GraphModule(network, graph)


def is_whole(layer: nn.Module | None) -> bool:
    """Tell whether a layer is kept as it is: one of torch's own, or of ours."""
    if layer is None or isinstance(layer, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False
    return getattr(nn, type(layer).__name__, None) is type(layer) or type(layer) in _WHOLE


class SizedProxy(fx.Proxy):
    """What stands for a value while code is traced; sizes can be asked for as numbers."""

    tracer: PlainTracer

    def __len__(self) -> int:
        """Return the length that it has for the example."""
        return len(self.tracer.example_of(self))

    def __int__(self) -> int:
        """Return the number that it is for the example."""
        return int(self.tracer.number_of(self))

    def __index__(self) -> int:
        """Return the number that it is for the example."""
        return int(self.tracer.number_of(self))

    def __float__(self) -> float:
        """Return the number that it is for the example."""
        return float(self.tracer.number_of(self))


class PlainTracer(fx.Tracer):
    """Looks into everything but torch's own layers, and decides by an example's sizes."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        """Take the height and the width of the example."""
        super().__init__(param_shapes_constant=True)
        self._image_size = image_size
        self._channels = 3
        self._examples: dict[fx.Node, Any] = {}
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """Trace, for pictures of as many channels as the network reads."""
        self._channels = picture_channels(root, self._image_size)
        return super().trace(root, concrete_args)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        """Keep torch's own layers whole, and ours."""
        return is_whole(m)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return what stands for a node."""
        return SizedProxy(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Decide as for the example, where only its size matters."""
        return bool(self.number_of(obj))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Take apart a size, or what a split returns."""
        return iter([obj[index] for index in range(len(self.example_of(obj)))])  # type: ignore[index]

    def number_of(self, obj: fx.Proxy) -> Any:
        """Return the number that a size is for the example.

        Raises:
            TraceError: It is computed from the picture's pixels.
        """
        value = self.example_of(obj)
        if isinstance(value, Tensor):
            msg = (
                "it asks for the value of a tensor that is computed from the picture, by `if`, "
                "`while`, int() or the like"
            )
            raise fx.proxy.TraceError(msg)
        return value

    def example_of(self, obj: fx.Proxy) -> Any:
        """Return what a node makes of the example, without computing any pixel."""
        with _untraced(), self._fake, torch.no_grad():
            for node in self.graph.nodes:
                if node not in self._examples:
                    self._examples[node] = self._run(node)
        return self._examples[obj.node]

    def _run(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return torch.zeros(EXAMPLE_BATCH, self._channels, *self._image_size)
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self._examples.__getitem__)
        if node.op == "get_attr":
            return _attribute(self.root, str(node.target))
        if node.op == "call_module":
            return self.root.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]


_CALL, _GETATTR = nn.Module.__call__, nn.Module.__getattr__


@contextmanager
def _untraced() -> Iterator[None]:
    """Let layers compute while torch.fx has put its own ways of calling them in their place."""
    tracing = nn.Module.__call__, nn.Module.__getattr__
    nn.Module.__call__, nn.Module.__getattr__ = _CALL, _GETATTR  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__call__, nn.Module.__getattr__ = tracing  # type: ignore[method-assign]


def stem_channels(network: nn.Module) -> int:
    """Return how many channels a network's first convolution reads; 3 without one."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.in_channels
    return 3


@torch.no_grad()
def picture_channels(network: nn.Module, image_size: tuple[int, int]) -> int:
    """Return how many channels the pictures of a network have.

    Those of its first convolution, unless something before that folds pixels into channels, such as
    a `PixelUnshuffle`: then the network itself is asked.

    Args:
        network: Network on the CPU, in eval mode.
        image_size: Height and width in pixels.
    """
    channels = stem_channels(network)
    if channels in {1, 3}:
        return channels
    for fewer in (3, 1):
        try:
            network(torch.zeros(1, fewer, *image_size))
        except (RuntimeError, ValueError, AssertionError, IndexError):
            continue
        return fewer
    return channels


def _attribute(root: Any, name: str) -> Any:
    for part in name.split("."):
        root = getattr(root, part)
    return root


def _cannot_trace(what: str, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    place = where(error)
    at = f" at {place}" if place else ""
    return (
        f"{what} cannot be traced{at}: {reason}. A source's forward pass decides by sizes alone, "
        "never by the values of tensors, and calls torch's functions. Change that line, or wrap "
        "the network in a module without it."
    )


def where(error: BaseException) -> str:
    """Return the file, line and code outside of torch and of this program where an error arose."""
    if isinstance(error, SyntaxError) and error.filename:
        code = f" ({error.text.strip()})" if error.text else ""
        return f"{error.filename}:{error.lineno}{code}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_machinery(frame.filename)]
    if not own:
        return ""
    last = own[-1]
    code = f" ({last.line})" if last.line else ""
    return f"{last.filename}:{last.lineno}{code}"


def _is_machinery(filename: str) -> bool:
    path = Path(filename)
    of_python = path.is_relative_to(_PYTHON) and "site-packages" not in path.parts
    machinery = any(path.is_relative_to(place) for place in _MACHINERY)
    return filename.startswith("<") or of_python or machinery


_PYTHON = Path(traceback.__file__).parent
_MACHINERY = (
    Path(torch.__file__).parent,
    Path(__file__).parents[2],
    Path(sys.modules["snow_export"].__file__ or "").parent,
    *(Path(place) for place in (sys.modules["traceback"].__file__, "<frozen importlib>") if place),
)
"""Files whose lines a user did not write."""
