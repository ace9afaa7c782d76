"""Options that say which source a command works on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from snow_deploy.cli.options import all_of

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.bring_source import SourceChoice

source_options = all_of(
    click.option(
        "--source",
        "architecture",
        metavar="NAME",
        help="The source's network: one of torchvision's by name, one of timm's as timm:NAME, or "
        "what a function of yours returns, as package.module:function.  [default: the store's, or "
        "resnet50]",
    ),
    click.option(
        "--weights",
        help="The source's weights: imagenet, one of torchvision's weight names, or a file: "
        ".safetensors, a checkpoint of torch.save's (.pth, .pt, .ckpt, .bin, .pth.tar), or the "
        "index of several (.index.json).  [default: the store's, imagenet, or those with which "
        "your function returns the network]",
    ),
    click.option(
        "--weights-key",
        metavar="NAME",
        help="Which weights, where a checkpoint holds several that fit, such as state_dict_ema.",
    ),
    click.option(
        "--stride-in-1x1",
        is_flag=True,
        help="The file's bottlenecks have their stride on the first 1x1 convolution, as the "
        "original ResNet and Caffe's, not on the 3x3, as torchvision's. The tensors do not tell.",
    ),
)


def read_choice(
    architecture: str | None,
    weights: str | None,
    weights_key: str | None,
    stride_in_1x1: bool,
    labels: Path | None = None,
) -> SourceChoice:
    """Return the source that a command's options ask for."""
    from snow_deploy.models.weights import ReadOptions
    from snow_deploy.training.bring_source import SourceChoice

    return SourceChoice(architecture, weights, ReadOptions(weights_key, stride_in_1x1), labels)


def is_first_process() -> bool:
    """Tell whether this is the process that prints: torchrun runs the command on each device."""
    return os.environ.get("RANK", "0") == "0"


def say_note(line: str) -> None:
    """Tell of something that was assumed; of torchrun's processes the first one does."""
    if is_first_process():
        click.echo(f"note: {line}", err=True)
