"""Blocks and stages of a CNN: what a delta may leave out, and where it may begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.taps import block_ends, block_names, crossings
from snow_export.trace.nodes import layer_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


@dataclass(frozen=True)
class Block:
    """A part of a CNN that reads one tensor and puts one out, with a convolution inside.

    Attributes:
        name: Name of the block.
        reads: Name of the fx node whose tensor it reads.
        node: Name of the fx node that it puts out.
        stage: Number of its stage, from 1 on: blocks whose maps have one height and width.
        position: Its number, from 1 on, among the blocks in a row that put out maps of one shape.
            Each but the first could be left out, for what it puts out has the shape of what it
            reads.
        begin: Name of the subscribed tensor that what begins with this block reads in the place of
            everything before it; None where there is no such tensor.
    """

    name: str
    reads: str
    node: str
    stage: int
    position: int
    begin: str | None


def find_blocks(
    traced: fx.GraphModule,
    values: Mapping[fx.Node, Any],
    dense: Collection[fx.Node],
    head: fx.Node,
    subscribed: Mapping[fx.Node, str],
) -> tuple[Block, ...]:
    """Find a CNN's blocks, in order.

    Args:
        traced: Network from images to logits.
        values: What each node makes for an example image.
        dense: The dense convolutions that read features, not the image.
        head: The node whose output the classifier reads.
        subscribed: Names of the subscribed tensors by node.
    """
    order = {node: place for place, node in enumerate(traced.graph.nodes)}
    through = crossings(traced.graph, values, head)
    first = min(order[node] for node in dense)
    before = [node for node in through if order[node] < first]
    ends = block_ends(traced, values, dense, head)
    names = block_names(ends)
    mixing = [node for node in order if isinstance(layer_of(traced, node), nn.Conv2d | nn.Linear)]
    blocks, reads, stage, position = list[Block](), before[-1], 0, 0
    shape = torch.Size([0, 0, 0, 0])
    for end in ends:
        inside = range(order[reads], order[end])
        if not any(order[node] in inside for node in mixing):
            continue  # a norm alone: it belongs to the block behind it
        stage += values[end].shape[2:] != shape[2:]
        position = position + 1 if values[end].shape == shape else 1
        shape = values[end].shape
        begin = next(
            (subscribed[n] for n in through if order[n] in inside and n in subscribed), None
        )
        blocks.append(Block(names[end], reads.name, end.name, stage, position, begin))
        reads = end
    return tuple(blocks)


def left_out(blocks: Sequence[Block], most: int | None, architecture: str) -> dict[str, str]:
    """Choose the blocks that a copy leaves out.

    Args:
        blocks: The network's.
        most: Number of blocks to keep of each row that puts out one shape; None keeps all.
        architecture: Name of the network, for the message.

    Returns:
        By the node that a block puts out, the one that it reads.

    Raises:
        SourceError: The network has no block that could be left out.
    """
    if most is None:
        return {}
    if all(block.position == 1 for block in blocks):
        msg = (
            f"no block of a {architecture} can be left out: each puts out a tensor of another "
            "shape than it reads. Leave --blocks out, or take another network as the source, such "
            "as a ResNet."
        )
        raise SourceError(msg)
    return {block.node: block.reads for block in blocks if block.position > most}


def stage_begin(blocks: Sequence[Block], stage: int | None, architecture: str) -> str | None:
    """Return the subscribed tensor that a stage begins with; None for None, the image.

    Args:
        blocks: The network's.
        stage: Number of the stage, from 1 on.
        architecture: Name of the network, for the message.

    Raises:
        SourceError: There is no such stage, or no such tensor.
    """
    if stage is None:
        return None
    begins = dict[int, str | None]()
    for block in blocks:
        begins.setdefault(block.stage, block.begin)
    possible = [str(number) for number, begin in begins.items() if begin is not None]
    begin = begins.get(stage)
    if begin is None:
        msg = (
            f"a {architecture} has no stage {stage} that a delta could begin with; expected one of "
            f"{', '.join(possible) or 'none'}. Give one of those to --from-stage, or leave it out."
        )
        raise SourceError(msg)
    return begin
