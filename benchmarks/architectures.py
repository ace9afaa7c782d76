"""Many architectures of torchvision and timm, one step of each kind: what works, and why not.

    python -m benchmarks.architectures [--only resnet18,timm:dla34] [--rows FILE.jsonl]

Random weights whose norms fit random pictures. Each network is read as a source; two deltas on it
take a training step; a graph of both is exported and compared with torch; INT8 is calibrated on a
few random pictures and checked as `inspect --int8` checks it; TensorRT-RTX compiles both for SM86.
No accuracy is looked at. Each network ends with a line of JSON in FILE, and one that has a line is
not walked again. The table goes to docs/lab/architectures.md. Engines need TensorRT-RTX, and the
networks timm: pip install -e '.[rtx,timm]'.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch
from torch import nn

from benchmarks._architecture_list import ARCHITECTURES
from benchmarks._architecture_table import LEAST_SHARE, SAMPLES, write_page
from benchmarks._scenario import settle
from snow_calibration.calibrate import calibrate
from snow_calibration.errors import CalibrationError
from snow_calibration.lint import lint
from snow_calibration.pictures import CalibrationPictures
from snow_deploy.models.delta import Delta
from snow_deploy.models.multiply_adds import network_macs, source_macs
from snow_deploy.models.source import Source
from snow_deploy.models.weights import SourceWeights, build_architecture, from_network
from snow_deploy.stages.export_request import source_entry
from snow_export.export import ExportRequest, export_graph
from snow_runtime.engine.make import build_engine
from snow_runtime.engine.options import BuildOptions
from snow_runtime.errors import SnowError
from snow_runtime.files import atomic_write
from snow_runtime.graph.manifest import Preprocessing, TaskEntry
from snow_runtime.pictures.preprocessing import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_calibration.calibrate import Calibration

PAGE: Final = Path("docs/lab/architectures.md")
_CLASSES: Final = 10
_TASKS: Final = 6  # whose multiply-adds are counted


@dataclass
class Row:
    """What one network came to; a step that fails says why, and those behind it stay empty.

    Attributes:
        architecture: Name of the source.
        family: Its family's name.
        image_size: Side of its pictures, in pixels.
        subscriptions: How many tensors a delta can subscribe to; None where it is no source.
        taps: How many tensors a readout reads.
        trained: Whether a step of training moved every weight.
        macs: Multiply-adds of the source and six deltas over those of the source alone.
        layout: `fused`, or `side by side`.
        error: Largest difference of the graph's answers from torch's, over the largest answer.
        int8_share: Share of the multiply-adds in INT8.
        findings: What the INT8 graph's check found.
        rest: Precision of what is not INT8.
        fp16: Convolutions in fp16, and all, of the engine.
        int8: Likewise in INT8.
        failed: The step that failed; empty where none did.
        why: Its message; or what went otherwise than usual.
        took_s: Seconds of all steps.
    """

    architecture: str
    family: str
    image_size: int
    subscriptions: int | None = None
    taps: int | None = None
    trained: bool = False
    macs: float | None = None
    layout: str = ""
    error: float | None = None
    int8_share: float | None = None
    findings: int | None = None
    rest: str = ""
    fp16: list[int] = field(default_factory=list)
    int8: list[int] = field(default_factory=list)
    failed: str = ""
    why: str = ""
    took_s: float = 0.0


def walk(architecture: str, folder: Path) -> Row:
    """Take a network through all steps, in a folder of its own."""
    family, size = ARCHITECTURES[architecture]
    row = Row(architecture, family, size)
    began = time.monotonic()
    try:
        for step in _steps(row, folder):
            row.failed = step
        row.failed = ""
    except Exception as error:  # noqa: BLE001 - any fault is what the table tells
        told = str(error) if isinstance(error, SnowError) else f"{type(error).__name__}: {error}"
        row.why = " ".join(told.split())[:400]
    row.took_s = round(time.monotonic() - began, 1)
    return row


def _steps(row: Row, folder: Path) -> Iterator[str]:
    """Take the steps; each is named before it is taken."""
    torch.manual_seed(0)
    yield "reads"
    source = _source(row)
    row.subscriptions = len(source.anatomy.subscriptions)
    row.taps = len(source.anatomy.taps)
    yield "trains"
    deltas = {name: _trained(row, source) for name in ("one", "two")}
    own = network_macs(source, deltas["one"], row.image_size)
    row.macs = 1 + _TASKS * own / source_macs(source, row.image_size)
    yield "exports"
    graph = _export(row, source, deltas, folder / "snow.onnx")
    yield "INT8"
    found = _calibrated(row, graph)
    quantised = folder / "snow.int8.onnx"
    model = found.int8()
    quantised.write_bytes(model.SerializeToString())
    row.int8_share, row.findings = found.int8_share(), len(lint(model))
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        return
    yield "fp16 engine"
    row.fp16 = _engine(graph, "fp16")
    yield "INT8 engine"
    row.int8 = _engine(quantised, "int8")


def _source(row: Row) -> Source:
    noise = _normalised(row)
    prefix, _, name = row.architecture.rpartition(":")
    if prefix:
        import timm

        network: nn.Module = timm.create_model(name, num_classes=_CLASSES)
        settle(network, noise)
        return Source.of(network, image_size=row.image_size, name=row.architecture)
    network = build_architecture(name, _CLASSES)
    settle(network, noise)
    weights = from_network(network, SourceWeights(name, {}, image_size=row.image_size))
    return Source(weights)


def _trained(row: Row, source: Source) -> Delta:
    """Take one step of SGD; every weight has to get a gradient."""
    delta = Delta(source, _CLASSES)
    images = _normalised(row)
    settle(delta, images, source(images))
    images = images[:4]
    delta.train()
    loss = nn.functional.cross_entropy(delta(images, source(images)), torch.arange(4))
    loss.backward()  # type: ignore[no-untyped-call]
    without = [name for name, each in delta.named_parameters() if each.grad is None]
    if without or not bool(loss.isfinite()):
        msg = f"loss {float(loss.detach()):g}, no gradient for {', '.join(without[:3]) or 'none'}"
        raise ValueError(msg)
    torch.optim.SGD(delta.parameters(), 1e-4).step()
    row.trained = True
    return delta.eval()


def _export(row: Row, source: Source, deltas: dict[str, Delta], path: Path) -> Path:
    labels = tuple(f"class {number}" for number in range(_CLASSES))
    request = ExportRequest(
        source=source,
        source_entry=source_entry(source),
        networks=deltas,
        tasks=tuple(TaskEntry(name, name, labels) for name in deltas),
        preprocessing=Preprocessing.for_size(row.image_size),
        pictures=_noise(row, 3),
        versions={},
        never_fused=frozenset(name for name, delta in deltas.items() if not delta.fuses),
    )
    parities = export_graph(request, path)
    row.error = max(each.max_error / max(each.scale, 1.0) for each in parities)
    names = _layer_names(path)
    row.layout = "fused" if any(name.startswith("one+two/") for name in names) else "side by side"
    return path


def _layer_names(path: Path) -> list[str]:
    import onnx

    return [node.name for node in onnx.load(path).graph.node]


def _calibrated(row: Row, graph: Path) -> Calibration:
    samples = CalibrationPictures(tuple(map(str, range(SAMPLES))), _noise(row, SAMPLES))
    ranges = graph.with_suffix(".json")
    try:
        row.rest = "fp16"
        return calibrate(graph, samples, ranges, method="minmax")
    except CalibrationError as error:
        if "--rest fp32" not in str(error):
            raise
    row.rest = "fp32"
    return calibrate(graph, samples, ranges, method="minmax", rest="fp32")


def _normalised(row: Row) -> torch.Tensor:
    """Return the random pictures as networks read them: [M, 3, S, S]."""
    preprocessing = Preprocessing.for_size(row.image_size)
    planes = [normalise(picture, preprocessing) for picture in _noise(row, SAMPLES)]
    return torch.from_numpy(np.stack(planes))


def _noise(row: Row, count: int) -> Any:
    shape = (count, row.image_size, row.image_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _engine(graph: Path, precision: Literal["fp16", "int8"]) -> list[int]:
    options = BuildOptions(precision, ("sm86",), optimization_level=0, least_share=LEAST_SHARE)
    output = graph.with_suffix(".engine")
    record = build_engine(graph, output, options, backend_name="tensorrt-rtx").record
    return [record.achieved.in_precision, record.achieved.convolutions]


def main(arguments: list[str] | None = None) -> int:
    """Walk what has no line yet, write the page, return the exit code."""
    chosen = _parse(arguments)
    names = chosen.only.split(",") if chosen.only else list(ARCHITECTURES)
    rows = _read(chosen.rows)
    for name in names:
        if name in rows:
            continue
        _append(chosen.rows, {"begun": name})
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows[name] = asdict(walk(name, Path(folder)))
        _append(chosen.rows, rows[name])
        print(json.dumps(rows[name]), flush=True)
    if chosen.page:
        ordered = [rows[name] for name in ARCHITECTURES if name in rows]
        with atomic_write(chosen.page) as file:
            left = [name for name in ARCHITECTURES if name not in rows]
            file.write(write_page(ordered, left).encode())
    return 0


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Read the rows that are there; a network that was begun twice without an end is one too."""
    found, begun = dict[str, dict[str, Any]](), list[str]()
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "begun" in row:
                begun.append(row["begun"])
            else:
                found[row["architecture"]] = row
    for name in begun:
        if name not in found and begun.count(name) > 1:
            family, size = ARCHITECTURES[name]
            ended = Row(name, family, size, failed="process", why="the process ended, twice")
            found[name] = asdict(ended)
    return found


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help="networks to walk, separated by commas; default: all")
    parser.add_argument("--quick", action="store_const", dest="only", const="resnet18")
    parser.add_argument(
        "--rows",
        type=Path,
        metavar="FILE.jsonl",
        default=Path("architectures.jsonl"),
        help="lines of networks that have been walked; new ones are added",
    )
    parser.add_argument(
        "--page",
        type=Path,
        default=None,
        metavar="FILE.md",
        nargs="?",
        const=PAGE,
        help=f"write the table here; without a name {PAGE}",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
