"""Whether a graph has the input and the outputs that its manifest speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_runtime.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_runtime.graph.manifest import Manifest


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph; an axis is None where the graph leaves its length open."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        axes = ", ".join("any" if axis is None else str(axis) for axis in self.shape)
        return f"{self.name!r} {self.dtype} [{axes}]"


def check_agreement(
    manifest: Manifest, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> None:
    """Check that the graph has the one input and every output that the manifest names.

    The graph may leave the batch axis, the height and the width open, and have more outputs.

    Raises:
        ManifestError: They disagree; the message says what was seen and what was expected.
    """
    size = manifest.preprocessing.image_size
    entry = manifest.input
    wanted = TensorSpec(entry.name, entry.dtype, (None, *entry.picture_shape(size)))
    if len(inputs) != 1 or not _fits(inputs[0], wanted):
        msg = f"one input {wanted}"
        raise _disagreement(msg, inputs)
    by_name = {output.name: output for output in outputs}
    for output, width in manifest.outputs.items():
        wanted = TensorSpec(output, "float32", (None, width))
        seen = by_name.get(output)
        if seen is None:
            msg = f"an output {wanted}"
            raise _disagreement(msg, outputs)
        # A last axis left open would hide a wrong number of labels until the first call.
        if not _fits(seen, wanted) or seen.shape[1] is None:
            msg = f"{wanted} for the {width} {_meaning(manifest, output)}"
            raise _disagreement(msg, [seen])


def _meaning(manifest: Manifest, output: str) -> str:
    features = manifest.features
    if features is not None and output == features.output:
        return "channels of its taps"
    return "labels of its task"


def _fits(seen: TensorSpec, wanted: TensorSpec) -> bool:
    if (seen.name, seen.dtype) != (wanted.name, wanted.dtype):
        return False
    return len(seen.shape) == len(wanted.shape) and all(
        have is None or want is None or have == want
        for have, want in zip(seen.shape, wanted.shape, strict=True)
    )


def _disagreement(expected: str, seen: Sequence[TensorSpec]) -> ManifestError:
    return ManifestError(
        f"The graph and its manifest disagree: the graph has {', '.join(map(str, seen)) or 'none'},"
        f" expected {expected}. One of the two was changed after the export: export the graph "
        "again with 'snow-deploy export'."
    )
