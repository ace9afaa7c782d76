"""From a float graph and pictures to an INT8 graph."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import onnx

from snow_calibration.arithmetic import multiply_adds, share
from snow_calibration.errors import CalibrationError
from snow_calibration.float_graph import observer, read_float_graph, readouts_of
from snow_calibration.pictures import as_input
from snow_calibration.quantisation_plan import layers_of, make_plan, possible_tensors
from snow_calibration.quantise import quantise
from snow_calibration.ranges import Origin, measure_ranges
from snow_export.half_range import check_range
from snow_runtime.errors import HalfError
from snow_runtime.files import atomic_write, writing
from snow_runtime.graph.half_precision import to_fp16
from snow_runtime.graph.manifest import Quantisation
from snow_runtime.graph.onnx_file import with_manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from snow_calibration.pictures import CalibrationPictures
    from snow_calibration.ranges import Ranges
    from snow_calibration.thresholds import ThresholdMethod
    from snow_runtime.backends.batch import Batch
    from snow_runtime.graph.manifest import Manifest
    from snow_runtime.progress import ProgressCallback

RestPrecision = Literal["fp32", "fp16"]

_RANGE_PICTURES = 16  # on which half precision is checked for overflow


@dataclass(frozen=True)
class Calibration:
    """A float graph with the ranges of its tensors: INT8 graphs are made from it.

    Attributes:
        model: The fp32 graph.
        manifest: What it says about itself.
        ranges: Ranges of every tensor that may be read quantised, whichever layers are kept.
        rest: Precision of what stays in floating point.
        float_bytes: Size of the graph that it is made from.
    """

    model: onnx.ModelProto
    manifest: Manifest
    ranges: Ranges
    rest: RestPrecision = "fp16"
    float_bytes: int = 0

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the convolutions and matrix products, in the graph's order; not readouts'."""
        return layers_of(self.model.graph, readouts_of(self.manifest))

    @property
    def never(self) -> frozenset[str]:
        """Names of the layers that are in floating point whichever are kept."""
        return never_quantised(self.model, self.manifest)

    @cached_property
    def multiply_adds(self) -> dict[str, int]:
        """Of every node that has some, by its name."""
        return multiply_adds(self.model)

    def int8_share(self, kept: Collection[str] = ()) -> float:
        """Return the share of the multiply-adds in INT8, 0 to 1, where some layers are kept."""
        return share(self.multiply_adds, set(self.layers) - set(kept))

    def int8(self, kept: Collection[str] = ()) -> onnx.ModelProto:
        """Make the INT8 graph, manifest included.

        Args:
            kept: Names of layers that stay in floating point.
        """
        return with_manifest(*self.quantised(kept))

    def quantised(self, kept: Collection[str] = ()) -> tuple[onnx.ModelProto, Manifest]:
        """Make the INT8 graph, and say what it is, as `int8` does, one beside the other."""
        plan = make_plan(self.model.graph, kept, self.never)
        model = quantise(self.model, plan, self.ranges.thresholds)
        if self.rest == "fp16":
            model = to_fp16(model)
        onnx.checker.check_model(model, full_check=True)
        origin = self.ranges.origin
        entry = Quantisation(
            graph_sha256=origin.graph_sha256,
            method=origin.method,
            samples=origin.samples,
            data_sha256=origin.data_sha256,
            rest=self.rest,
            layers=len(plan.layers),
            kept=tuple(name for name in self.layers if name in set(kept)),
        )
        return model, replace(self.manifest, precision="int8", quantisation=entry)

    def in_fp32(self) -> Calibration:
        """Return the same with the rest in fp32: INT8 alone makes the difference."""
        return replace(self, rest="fp32")

    def half(self) -> onnx.ModelProto:
        """Make the fp16 graph of the same network, manifest included, to compare with."""
        return with_manifest(to_fp16(self.model), replace(self.manifest, precision="fp16"))


def calibrate(
    path: Path,
    samples: CalibrationPictures,
    ranges_path: Path,
    *,
    method: ThresholdMethod = "entropy",
    rest: RestPrecision = "fp16",
    progress: ProgressCallback | None = None,
) -> Calibration:
    """Measure the ranges of a graph's tensors on pictures, or take those measured before.

    Args:
        path: An fp32 graph of `snow-deploy export`.
        samples: Pictures of the size that the graph takes.
        ranges_path: The ranges' file: written, gone on with, or reused if it fits.
        method: How thresholds are chosen.
        rest: Precision of what stays in floating point.
        progress: Callback, as for `measure_ranges`.

    Raises:
        CalibrationError: The graph is no float graph of this project, the pictures do not fit,
            the rest overflows half precision, or the file holds the ranges of something else.
        GraphError: The file cannot be read.
    """
    graph = read_float_graph(path)
    model, manifest = graph.model, graph.manifest
    if rest == "fp16":
        _check_half(model, as_input(samples.spread(_RANGE_PICTURES), manifest))
    tensors = possible_tensors(model.graph, never_quantised(model, manifest))
    origin = Origin(graph.sha256, samples.sha256, len(samples), method)
    run = observer(model, manifest, tensors)
    ranges = measure_ranges(run, tensors, samples, origin, ranges_path, progress=progress)
    return Calibration(model, manifest, ranges, rest, graph.size_bytes)


def never_quantised(model: onnx.ModelProto, manifest: Manifest) -> frozenset[str]:
    """Return the names of the layers of readouts, which stay in floating point."""
    layers = layers_of(model.graph, readouts_of(manifest))
    return frozenset(layers_of(model.graph)).difference(layers)


def _check_half(model: onnx.ModelProto, feed: Batch) -> None:
    try:
        check_range(model, feed)
    except HalfError as error:
        reason = str(error).partition(". ")[0]
        msg = f"the rest cannot be fp16: {reason}. Give --rest fp32."
        raise CalibrationError(msg) from error


def choose_layers(
    layers: Sequence[str], patterns: Sequence[str], never: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the layers that any pattern names, such as `source/conv1` or `food/*`.

    Args:
        layers: The layers that there are to choose from.
        patterns: What is asked for.
        never: Others, which stay in floating point anyway: a pattern may name them, too.

    Raises:
        CalibrationError: A pattern names none, or together they name all.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in layers if fnmatchcase(name, pattern)}
        if not found and not any(fnmatchcase(name, pattern) for name in never):
            near = difflib.get_close_matches(pattern, layers, n=3, cutoff=0.3) or layers[:3]
            msg = f"no layer is called {pattern!r}; there are for instance {', '.join(near)}"
            raise CalibrationError(msg)
        chosen |= found
    if layers and chosen == set(layers):
        msg = "all layers are to be kept, which leaves none for INT8; name fewer with --keep-fp16"
        raise CalibrationError(msg)
    return tuple(name for name in layers if name in chosen)


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph that is complete or absent.

    Raises:
        CalibrationError: It cannot be written.
    """
    with writing(path, CalibrationError, "Choose another -o, or free space."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(model.SerializeToString(deterministic=True))
