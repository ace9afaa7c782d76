"""Engines on disk that no TensorRT has made: a plan of any bytes, and its record."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from snow_runtime.engine.achieved import Achieved
from snow_runtime.engine.files import write_engine
from snow_runtime.engine.host import Host
from snow_runtime.engine.options import BuildOptions
from snow_runtime.engine.record import EngineRecord
from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = Manifest(
    source=SourceEntry("small", "a" * 64, 112),
    preprocessing=Preprocessing.for_size(8),
    tasks=(TaskEntry("food", "food", ("a", "b", "c", "d", "é"), selections={"layer1": (1, 3)}),),
    precision="fp16",
)
ORIN = Host("linux-aarch64", "12.6", "Orin", "sm87", "6.1 or later")
DESKTOP = Host("linux-x86_64", "13.0", "NVIDIA GeForce RTX 3090", "sm86")
PLAN = bytes(range(256)) * 40


def record_of(content: bytes = PLAN, **fields: Any) -> EngineRecord:
    """Describe a plan as one of TensorRT 10.3 on a Jetson, but for the fields given."""
    values: dict[str, Any] = {
        "plan_sha256": hashlib.sha256(content).hexdigest(),
        "plan_bytes": len(content),
        "graph": "snow.onnx",
        "graph_sha256": "c" * 64,
        "backend": "tensorrt",
        "version": "10.3.0",
        "host": ORIN,
        "options": BuildOptions("fp16").with_batches(1, 2, 4),
        "inputs": {"image": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))},
        "manifest": MANIFEST,
        "achieved": Achieved("fp16", 4, 3, {"fp16": 3, "fp32": 1}, {"food/deep": "fp32"}),
        "compute_layers": 5,
        "build_s": 1.5,
        "built_at": "2026-01-02T03:04:05+00:00",
        "snow_deploy": "0.1.0",
    }
    return EngineRecord(**{**values, **fields})


def engine_in(folder: Path, content: bytes = PLAN, **fields: Any) -> Path:
    """Write a plan and its record as `snow.engine`."""
    path = folder / "snow.engine"
    write_engine(path, content, record_of(content, **fields))
    return path
