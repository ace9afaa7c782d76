"""Every rule that a source of another library needs, against torch, by ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from snow_export.emit.graph import emit
from snow_export.errors import ExportError
from snow_export.network import LOGITS, SharedNetwork, flatten_network
from snow_export.own_layers import FixedFilter2d, PaddedConv2d
from snow_runtime.graph.manifest import InputEntry, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 9
CHANNELS = 6


class Alone(nn.Module):
    """A stem of some channels, one operation, and the mean of what it makes."""

    def __init__(self, tried: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.tried = tried

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {LOGITS: self.tried(self.stem(images)).flatten(1)}


def blur(mode: str) -> FixedFilter2d:
    layer = FixedFilter2d((3, 3), (2, 2), (1, 1, 1, 1), mode)
    layer.weight.copy_(torch.tensor([1.0, 2, 1]).outer(torch.tensor([1.0, 2, 1])) / 16)
    return layer


def moved(norm: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in norm.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return norm


class ChannelAttention(nn.Module):
    """ECA's: a convolution over the channels' means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        means = features.mean((2, 3)).view(features.shape[0], 1, -1)
        gate = self.conv(means).sigmoid().view(features.shape[0], -1, 1, 1)
        gated: Tensor = features * gate.expand_as(features)
        return gated


class FlatNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = moved(nn.BatchNorm1d(CHANNELS))

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.norm(features.mean((2, 3)))
        return out


TRIED: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "pads of their own": lambda: PaddedConv2d(6, 4, 3, stride=2, pads=(0, 1, 2, 1)),
    "same, stride 2": lambda: PaddedConv2d(6, 4, 5, stride=2, pads="same"),
    "same, dilated": lambda: PaddedConv2d(6, 6, (3, 1), dilation=2, groups=3, pads="same"),
    "reflecting blur": lambda: blur("reflect"),
    "blur": lambda: blur("constant"),
    "GroupNorm": lambda: moved(nn.GroupNorm(3, 6)),
    "GroupNorm without scales": lambda: nn.GroupNorm(2, 6, affine=False),
    "PReLU": lambda: moved(nn.PReLU(6)),
    "Mish": nn.Mish,
    "channel attention": ChannelAttention,
    "BatchNorm1d": FlatNorm,
    "Upsample": lambda: nn.Upsample(scale_factor=2),
    "bilinear": lambda: nn.Upsample(size=(13, 17), mode="bilinear"),
    "aligned": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "AdaptiveMaxPool2d": lambda: nn.AdaptiveMaxPool2d(3),
    "global max": lambda: nn.AdaptiveMaxPool2d(1),
    "ZeroPad2d": lambda: nn.ZeroPad2d((1, 0, 2, 1)),
    "ConstantPad2d": lambda: nn.ConstantPad2d(1, -2.0),
    "ReplicationPad2d": lambda: nn.ReplicationPad2d(2),
    "pad": lambda: lambda x: functional.pad(x, (1, 2), value=3.0),
    "nearest": lambda: lambda x: functional.interpolate(x, size=(18, 27)),
    "norm": lambda: lambda x: x.norm(p=2, dim=(2, 3), keepdim=True) + torch.norm(x, dim=1)[:, None],
    "vector_norm": lambda: lambda x: torch.linalg.vector_norm(x, dim=1),
    "addcmul": lambda: lambda x: torch.addcmul(x, x, x.relu(), value=0.5) + x.addcmul(x, x),
    "sum": lambda: lambda x: x.sum(1) + torch.amax(x, 1) - x.amin(dim=1),
    "softmax": lambda: lambda x: x.softmax(1) * functional.softmax(x, dim=2),
    "stack": lambda: lambda x: torch.stack([x, x.relu()], dim=1),
    "pow": lambda: lambda x: x**2 + x.abs().sqrt() - torch.exp(-x),
    "extremes": lambda: lambda x: torch.maximum(x, x * 2) + torch.minimum(x, -x),
    "matmul": lambda: lambda x: torch.matmul(x, x.transpose(2, 3)) + x @ x,
    "expand": lambda: lambda x: x * x.mean((2, 3), keepdim=True).expand(-1, -1, SIZE, SIZE),
}


def onnx_and_torch(tried: Callable[[Tensor], Tensor]) -> tuple[Any, Any]:
    torch.manual_seed(0)
    network = SharedNetwork(Alone(tried).eval(), [], ["source"])
    images = torch.randn(3, 3, SIZE, SIZE)
    model = emit(
        flatten_network(network), network, InputEntry(), Preprocessing.for_size(SIZE), images
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    more = torch.randn(5, 3, SIZE, SIZE)  # another batch than the example's
    (found,) = session.run(None, {"image": more.numpy()})
    with torch.no_grad():
        return found, network(more)[0].numpy()


@pytest.mark.parametrize("name", TRIED)
def test_an_operator_answers_as_torch(name: str) -> None:
    found, expected = onnx_and_torch(TRIED[name]())

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("tried", "reason"),
    [
        (lambda x: x.sum(0), "the batch among them"),
        (nn.AdaptiveMaxPool2d(4), "9 x 9 to 4 x 4.* torch.onnx cannot write it either"),
    ],
)
def test_what_has_no_form_is_refused(tried: Callable[[Tensor], Tensor], reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        onnx_and_torch(tried)


@pytest.mark.parametrize("size", [7, 8, 9, 16])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 3, 1), (3, 2, 2)])
def test_same_pads_give_a_pixel_for_each_stride_begun(
    size: int, kernel: int, stride: int, dilation: int
) -> None:
    layer = PaddedConv2d(1, 1, kernel, stride=stride, dilation=dilation, pads="same")

    left, right, top, bottom = layer.pads_for(size, size)

    assert (left, right) == (top, bottom)
    assert right - left in {0, 1}
    assert layer(torch.zeros(1, 1, size, size)).shape[2:] == (-(-size // stride),) * 2
