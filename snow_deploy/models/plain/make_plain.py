"""From any network to its plain graph, compared with the network itself."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import torch
from torch import Tensor, fx, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.plain.aten_calls import NotExportedError
from snow_deploy.models.plain.casts import drop_casts
from snow_deploy.models.plain.description import build_described, describe
from snow_deploy.models.plain.exported import trace_exported
from snow_deploy.models.plain.hooks import (
    deep_copy,
    settle_weights,
    take_off_compile,
    take_off_hooks,
)
from snow_deploy.models.plain.refuse_layers import refuse_layers
from snow_deploy.models.plain.replace_layers import convolution_like, replace_layers
from snow_deploy.models.plain.rewrite import rewrite
from snow_deploy.models.plain.tracer import EXAMPLE_BATCH, picture_channels, trace_plainly, where
from snow_export.trace.nodes import layer_of


class UnfitError(SourceError):
    """A network is no source, however it is read."""


_ATTENTION = re.compile(r"Attention(2d|Block|Layer|Pool)?$")
"""What the classes of attention blocks are called, in torch, torchvision and timm."""
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey, ITU-R BT.601, as Pillow has them."""
_TOLERANCE = 1e-3
"""Of the largest answer: reparametrised weights round otherwise."""


def make_plain(network: nn.Module, image_size: tuple[int, int], what: str) -> fx.GraphModule:
    """Return a network as a graph of torch's layers and functions, in eval mode.

    Blocks that were trained with several branches are made one convolution each, as timm does it
    for use. A network for grey pictures is made to read the grey of red, green and blue.

    Args:
        network: Network from [B, 3, S, S] (or [B, 1, S, S]) to logits [B, classes]; stays as
            it is.
        image_size: Height and width in pixels; what the network decides by size is decided for
            these.
        what: The network, for people.

    Raises:
        SourceError: It cannot be traced, has attention, reads pictures of other channels, or its
            graph answers otherwise than it does.
    """
    refuse_attention(network, what)
    original = _copy(network, what)
    channels = picture_channels(original, image_size)
    if channels not in {1, 3}:
        msg = (
            f"{what} reads pictures of {channels} channels, expected 3 (red, green, blue) or 1 "
            "(grey), as pictures have here. Take a network for RGB pictures, or train its first "
            "layer for them."
        )
        raise SourceError(msg)
    images = torch.randn((2, channels, *image_size), generator=torch.Generator().manual_seed(0))
    images[1] *= 3  # so that what is computed of both is seen beside what is of one
    expected = _answers(original, images, what)
    changed = copy.deepcopy(original)
    settle_weights(changed)
    reparametrise(changed)
    replace_layers(changed, images)
    hooked = take_off_hooks(changed)
    try:
        plain = _trace(changed, images, expected, what)
    except SourceError as error:
        if not hooked or isinstance(error, UnfitError):
            raise
        msg = f"{error} Hooks were taken off first, here of {', '.join(hooked[:3])}."
        raise SourceError(msg) from error
    if channels == 1:
        _read_colour(plain, what)
    return plain


def _copy(network: nn.Module, what: str) -> nn.Module:
    """Copy a network to the CPU, in float32 and eval mode.

    Raises:
        SourceError: It is TorchScript, or of layers that cannot be copied, such as quantised ones.
    """
    refuse_layers(network, what)
    try:
        copied = take_off_compile(deep_copy(network))
        return copied.to("cpu", torch.float32).eval()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        msg = (
            f"{what} cannot be copied as a network of float32 layers: {type(error).__name__}: "
            f"{reason}. A source's layers are torch's own, not quantised, and can be deep-copied."
        )
        raise SourceError(msg) from error


def _trace(network: nn.Module, images: Tensor, expected: Tensor, what: str) -> fx.GraphModule:
    """Trace by torch.fx, or where that does not get at the network's answers by torch.export.

    Raises:
        SourceError: Neither does; the message is torch.fx's, and tells the other's reason.
    """
    image_size = (images.shape[2], images.shape[3])
    try:
        return _checked(rewrite(trace_plainly(network, image_size, what)), images, expected, what)
    except UnfitError:
        raise
    except SourceError as refused:
        try:
            plain = rewrite(trace_exported(network, image_size))
            return _checked(plain, images, expected, what)
        except UnfitError:
            raise
        except (NotExportedError, SourceError) as also:
            if str(also) == str(refused):
                raise
            reason = str(also).partition(". ")[0]
            msg = f"{refused} torch.export was tried too, and does not read it: {reason}."
            raise SourceError(msg) from refused


def refuse_attention(network: nn.Module, what: str) -> None:
    """Refuse a network with attention blocks.

    Raises:
        SourceError: It has some; the message names the first.
    """
    for name, layer in network.named_modules():
        if _ATTENTION.search(type(layer).__name__):
            raise UnfitError(_no_attention(what, f"{name} is a {type(layer).__name__}"))


def _no_attention(what: str, seen: str) -> str:
    return (
        f"{what} has attention blocks ({seen}). A delta mirrors convolutions at a part of their "
        "width, and attention relates every pixel to every other one, at the width of its heads. "
        "Take a network of convolutions alone, such as timm:convnext_nano or timm:resnet50d."
    )


def reparametrise(network: nn.Module) -> None:
    """Make one convolution of each of timm's blocks with several branches for training, in place.

    RepVGG, MobileOne, FastViT, RepViT and others are published in the form that they train in.
    """
    for name, child in list(network.named_children()):
        block: Any = child
        if type(child).__module__.startswith("timm."):
            if hasattr(block, "fuse"):
                block = block.fuse()
                setattr(network, name, block)
            elif hasattr(block, "reparameterize"):
                block.reparameterize()
            elif hasattr(block, "switch_to_deploy"):
                block.switch_to_deploy()
        reparametrise(block)


@torch.no_grad()
def _answers(original: nn.Module, images: Tensor, what: str) -> Tensor:
    """Return the network's own answers, [B, classes].

    Raises:
        SourceError: It raises, or returns something else.
    """
    height, width = images.shape[2:]
    try:
        answers = original(images.clone())  # which it may write into
    except Exception as error:
        reason, place = str(error).strip().partition("\n")[0].rstrip("."), where(error)
        kind, at = type(error).__name__, f" at {place}" if place else ""
        msg = (
            f"{what} cannot read pictures of {height} x {width} pixels: "
            f"{f'{kind}: {reason}' if reason else kind}{at}. Its forward pass has to take one "
            f"batch, {list(images.shape)}, on the CPU. Mend that line; where it is the size that "
            "does not fit, give the one that the network was trained with."
        )
        raise SourceError(msg) from error
    if not isinstance(answers, Tensor) or answers.ndim != 2 or not answers.shape[1]:
        seen = list(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
        msg = (
            f"{what} returns {seen} for {list(images.shape)}, expected logits "
            f"[{len(images)}, classes]. Wrap it in a module that returns them."
        )
        raise SourceError(msg)
    return answers


@torch.no_grad()
def _checked(plain: fx.GraphModule, images: Tensor, expected: Tensor, what: str) -> fx.GraphModule:
    """Return a graph as it is when it has been written down and read, if that answers the same.

    Raises:
        SourceError: It cannot be written down, or the answers differ beyond rounding from those of
            the network itself, or by what other pictures there are.
    """
    plain.eval()
    if any(node.target is nn.functional.scaled_dot_product_attention for node in plain.graph.nodes):
        raise UnfitError(_no_attention(what, "it calls scaled_dot_product_attention"))
    for name, layer in plain.named_modules():
        if getattr(layer, "running_mean", layer) is None and isinstance(layer, _BATCH_NORMS):
            msg = (
                f"{name} of {what} keeps no running statistics, so that it answers about a picture "
                "by what other pictures are in its batch. Let it track them, and train it again."
            )
            raise UnfitError(msg)
    drop_casts(plain, images.shape, what)
    written = build_described(describe(plain, what))
    written.load_state_dict(plain.state_dict(), strict=False)  # profilers leave buffers in layers
    found, alone = (_run(written, given, what) for given in (images, images[:1]))
    far = _distance(found, expected)
    if far > _TOLERANCE:
        msg = (
            f"the graph of {what} answers otherwise than the network itself: up to {far:.2g} of "
            f"the largest answer apart, expected {_TOLERANCE:g} at most. Its forward pass depends "
            "on something beside the picture, such as chance or what it remembers."
        )
        raise SourceError(msg)
    if alone.shape != found[:1].shape:
        msg = (
            f"{what} returns {list(alone.shape)} for one picture, expected [1, {found.shape[1]}]. "
            "Leave squeeze() out, or say which axis: squeeze(-1)."
        )
        raise UnfitError(msg)
    far = _distance(alone, found[:1])
    if far > _TOLERANCE:
        msg = (
            f"{what} answers about a picture by what other pictures are in its batch: up to "
            f"{far:.2g} of the largest answer apart, expected {_TOLERANCE:g} at most. Norms "
            "without running statistics do so, and means over the first axis: leave them out."
        )
        raise UnfitError(msg)
    return written


def _run(plain: fx.GraphModule, images: Tensor, what: str) -> Tensor:
    try:
        found: Tensor = fx.Interpreter(plain).run(images.clone())  # plain() prints what it fails at
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        msg = (
            f"the graph of {what}, which was read from {EXAMPLE_BATCH} pictures, fails for "
            f"{len(images)}: {reason}. Let its forward pass take any number of pictures: sizes[0] "
            "as it comes, neither by int() nor in a loop."
        )
        raise SourceError(msg) from error
    return found


def _distance(found: Tensor, expected: Tensor) -> float:
    """Return how far answers are apart, as a share of the largest; what is not finite agrees."""
    if found.shape != expected.shape:
        return float("inf")
    same_holes = bool((expected.isfinite() == found.isfinite()).all())
    if same_holes and not expected.isfinite().all():
        return 0.0
    far = float((expected - found).abs().max()) / max(float(expected.abs().max()), 1e-6)
    return float("inf") if math.isnan(far) else far


@torch.no_grad()
def _read_colour(plain: fx.GraphModule, what: str) -> None:
    """Let convolutions that read grey read its sum of red, green and blue, in place."""
    image = next(node for node in plain.graph.nodes if node.op == "placeholder")
    for node in image.users:
        layer = layer_of(plain, node)
        if not isinstance(layer, nn.Conv2d) or layer.in_channels != 1:
            msg = (
                f"{what} reads grey pictures, and {node.name} does so without a convolution. "
                "Begin the network with the convolution, or let it read three channels."
            )
            raise SourceError(msg)
    for name in {str(node.target) for node in image.users}:
        first: Any = plain.get_submodule(name)
        weight = first.weight * torch.tensor(_LUMA).view(1, 3, 1, 1)
        pads = getattr(first, "pads", None)
        plain.set_submodule(name, convolution_like(first, weight, first.bias, pads))
