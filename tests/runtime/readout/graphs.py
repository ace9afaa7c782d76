"""Small graphs that give out features, made with onnx.helper, and readouts for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from snow_runtime.graph.features_entry import FeaturesEntry, TapEntry
from snow_runtime.graph.manifest import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Manifest,
    Preprocessing,
    SourceEntry,
    TaskEntry,
)
from snow_runtime.readout.facts import FitEntry, ReadoutFacts
from snow_runtime.readout.file import ReadoutFile
from snow_runtime.self_check import check_picture, with_self_check
from tests.onnx_models import small_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 8
TAPS = (TapEntry("stem", 3), TapEntry("block", 5))
CHOSEN: Mapping[str, tuple[int, ...]] = {"stem": (0, 2), "block": (1, 3, 4)}
LABELS = ("cat", "dog", "none")


def manifest_of(tasks: Sequence[str] = ("food",), *, features: bool = True) -> Manifest:
    """Give the manifest of a graph with these tasks, of two labels each."""
    return Manifest(
        SourceEntry("small", "a" * 64, 18),
        Preprocessing(SIZE, SIZE, IMAGENET_MEAN, IMAGENET_STD),  # pictures of SIZE as they are
        tuple(TaskEntry(task, task, ("hot", "cold")) for task in tasks),
        features=FeaturesEntry("source.features", TAPS) if features else None,
    )


@dataclass(frozen=True)
class FeatureGraph:
    """A graph on disk, and the arithmetic that it stands for."""

    path: Path
    manifest: Manifest
    weight: NDArray[np.float32]  # [5, 3], of the block's 1x1 convolution

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Compute uint8 `[B, S, S, 3]`, red first, to `[B, 8]` in float64."""
        how = self.manifest.preprocessing
        x = (pictures.astype(np.float64) / 255 - how.mean) / how.std  # [B, S, S, 3]
        block = np.maximum(x @ self.weight.T.astype(np.float64), 0)
        return np.concatenate([x.mean((1, 2)), block.mean((1, 2))], 1)


def feature_graph(
    path: Path, manifest: Manifest | None = None, *, batch: int | str = "batch", **odd: Any
) -> FeatureGraph:
    """Write a graph: a stem that is the picture, a block that is a convolution and a ReLU.

    Args:
        path: The ONNX file.
        manifest: What it is.
        batch: Its batch axis.
        odd: `scale`, by which the features are multiplied that it gives out.
    """
    manifest = manifest or manifest_of()
    weight = np.random.default_rng(5).normal(size=(5, 3)).astype(np.float32)
    outputs = [task.output for task in manifest.tasks]
    frames = manifest.input.dtype == "uint8"  # of a camera, blue first
    picture = "planes" if frames else "image"
    nodes = [
        helper.make_node("Gather", ["image", "order"], ["rgb"], axis=3),
        helper.make_node("Cast", ["rgb"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normal"]),
        helper.make_node("Transpose", ["normal"], ["planes"], perm=[0, 3, 1, 2]),
    ]
    nodes = [
        *(nodes if frames else []),
        helper.make_node("Conv", [picture, "w"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", [picture], ["stem.mean"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["block.mean"]),
        helper.make_node("Concat", ["stem.mean", "block.mean"], ["means"], axis=1),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Mul", ["flat", "scale"], ["source.features"]),
        *(helper.make_node("MatMul", ["flat", "v"], [output]) for output in outputs),
    ]
    constants = {
        "w": weight.reshape(5, 3, 1, 1),
        "v": np.random.default_rng(6).normal(size=(8, 2)).astype(np.float32),
        "scale": np.full(1, odd.get("scale", 1.0), np.float32),
        "order": np.array([2, 1, 0]),
        "mean": 255 * np.array(manifest.preprocessing.mean, np.float32),
        "std": 255 * np.array(manifest.preprocessing.std, np.float32),
    }
    shown = dict.fromkeys(outputs, (batch, 2))
    if manifest.features is not None:
        shown["source.features"] = (batch, 8)
    kind = TensorProto.UINT8 if frames else TensorProto.FLOAT
    shape = (batch, *manifest.input.picture_shape(SIZE))
    model = small_model(nodes, {"image": shape}, shown, constants, kind)
    onnx.save(with_self_check(model, manifest), path)
    return FeatureGraph(path, manifest, weight)


def make_readout(graph: FeatureGraph, name: str = "door", seed: int = 0) -> ReadoutFile:
    """Give a readout of random weights, whose answers to the check picture are computed here."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(len(LABELS), 5)).astype(np.float32)
    bias = rng.normal(size=len(LABELS)).astype(np.float32)
    logits = graph.features(check_picture(SIZE)[None])[0][[0, 2, 4, 6, 7]] @ weight.T + bias
    facts = ReadoutFacts(
        TaskEntry(name, name, LABELS, selections=dict(CHOSEN), scheme="readout"),
        graph.manifest.source,
        graph.manifest.preprocessing,
        TAPS,
        graph.manifest.precision,
        tuple(logits.tolist()),
        FitEntry(30, (10, 10, 10), 0.9, 0.02, 0.1),
        {"snow-deploy": "1"},
    )
    return ReadoutFile(facts, weight, bias)


def changed(readout: ReadoutFile, **fields: Any) -> ReadoutFile:
    """Give a readout with other facts, as one that was fitted elsewhere has them."""
    return ReadoutFile(replace(readout.facts, **fields), readout.weight, readout.bias)
