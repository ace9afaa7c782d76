"""Every family of networks the whole way, one run a family: what works, and how far in INT8.

    python -m benchmarks.families [--only resnet18,vgg11_bn] [--output FILE.json]

Random weights whose norms fit random pictures; two tasks trained for an epoch on a few rendered
ones: what is looked at is whether each step works and what engines compute in, not how accurate
they are. Every step is the command itself. The last line is one JSON object. Engines need
TensorRT-RTX: pip install -e '.[rtx]'.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from benchmarks._scenario import settle
from snow_deploy.cli import main as snow_deploy
from snow_deploy.data import open_data
from snow_deploy.models.weights import build_architecture
from snow_runtime.graph.manifest import Preprocessing
from snow_runtime.pictures.preprocessing import normalise, resize_and_crop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FAMILIES: Final = {
    "resnet18": ("ResNet", 64),
    "resnext50_32x4d": ("ResNeXt", 64),
    "wide_resnet50_2": ("Wide ResNet", 64),
    "regnet_x_400mf": ("RegNet X", 64),
    "regnet_y_400mf": ("RegNet Y", 64),
    "densenet121": ("DenseNet", 64),
    "vgg11_bn": ("VGG", 64),
    "alexnet": ("AlexNet", 96),
    "squeezenet1_1": ("SqueezeNet", 64),
    "googlenet": ("GoogLeNet", 64),
    "inception_v3": ("Inception", 128),
    "mobilenet_v2": ("MobileNet v2", 64),
    "mobilenet_v3_small": ("MobileNet v3", 64),
    "mnasnet0_5": ("MNASNet", 64),
    "shufflenet_v2_x0_5": ("ShuffleNet", 64),
    "efficientnet_b0": ("EfficientNet v1", 64),
    "efficientnet_v2_s": ("EfficientNet v2", 64),
    "convnext_tiny": ("ConvNeXt", 64),
}
"""By torchvision's name, one network of each family, and the picture size that it is run at."""
TASKS: Final = ("shape", "colour")
_PICTURES: Final = "train=48&test=24&size=64"
_TRAINING: Final = ("--epochs", "1", "--batch-size", "16", "--workers", "0", "--no-baseline")
_SETTLED: Final = frozenset({"efficientnet_v2_s"})
"""Networks that answer rendered pictures with millions where their norms were fitted to noise."""
_STEADY: Final = ("--recipe", "steady")
_PAPER: Final = ("--recipe", "paper", "--lr", "0.01")
HEADINGS: Final = {
    "family": "family",
    "architecture": "network",
    "image_size": "px",
    "deltas": "deltas",
    "verify": "verify",
    "int8_share": "multiply-adds in INT8",
    "agreement": "agreement",
    "lint": "lint",
    "fp16": "fp16 engine",
    "int8": "INT8 engine",
    "notes": "notes",
}


@dataclass
class Row:
    """What one network came to; a step that fails says why, and those behind it stay empty.

    Attributes:
        family: Its family's name.
        architecture: torchvision's name.
        image_size: Side of its pictures.
        deltas: `fused`, or `side by side`.
        verify: `agrees`, where every step of the ladder does.
        int8_share: Share of the multiply-adds in INT8.
        agreement: Least of the tasks' agreement with fp32.
        lint: How many findings `inspect --int8` has.
        fp16: Layers in fp16 of all, and kernels, of the engine.
        int8: Likewise in INT8.
        notes: What went otherwise than by default, or failed.
    """

    family: str
    architecture: str
    image_size: int
    deltas: str = ""
    verify: str = ""
    int8_share: str = ""
    agreement: str = ""
    lint: str = ""
    fp16: str = ""
    int8: str = ""
    notes: list[str] = field(default_factory=list)


class StepError(Exception):
    """A command failed; the message is its own."""


def walk(architecture: str, folder: Path) -> Row:
    """Take a network the whole way in a folder of its own."""
    family, size = FAMILIES[architecture]
    row = Row(family, architecture, size)
    try:
        _train_and_export(row, folder)
        _quantise(row, folder)
        if importlib.util.find_spec("tensorrt_rtx_bindings") is not None:
            row.fp16 = _engine(folder / "snow.onnx", "--fp16")
            row.int8 = _engine(folder / "snow.int8.onnx", "--int8")
    except StepError as error:
        row.notes.append(str(error))
    return row


def _train_and_export(row: Row, folder: Path) -> None:
    _save_weights(row, folder / "source.safetensors")
    store = ["--store", str(folder / "store")]
    source = ["--source", row.architecture, "--weights", str(folder / "source.safetensors")]
    size = ["--image-size", str(row.image_size)]
    for task in TASKS:
        data = ["--task", task, "--data", f"demo:{task}?{_PICTURES}"]
        how = (*data, *source, *store, *size, *_TRAINING)
        try:
            _run("train", *how, *_STEADY)
        except StepError as error:
            if "--recipe paper" not in str(error):
                raise
            row.notes = [f"{error}: so it was"]
            _run("train", *how, *_PAPER)
    graph = str(folder / "snow.onnx")
    said = _run("export", *store, "-o", graph)
    row.deltas = "side by side" if "side by side" in said else "fused"
    _run("verify", graph, *store, "--batch-sizes", "1,3")
    row.verify = "agrees"


def _quantise(row: Row, folder: Path) -> None:
    graph, int8 = folder / "snow.onnx", folder / "snow.int8.onnx"
    data = [word for task in TASKS for word in ("--data", f"{task}=demo:{task}?{_PICTURES}")]
    how = ["-o", str(int8), "--samples", "32", "--max-drop", "100"]
    try:
        _run("calibrate", str(graph), *data, *how)
    except StepError as error:
        if "--rest fp32" not in str(error):
            raise
        row.notes.append("random activations overflow fp16: calibrated with --rest fp32")
        _run("calibrate", str(graph), *data, *how, "--rest", "fp32")
    report = json.loads(int8.with_suffix(".report.json").read_text(encoding="utf-8"))
    row.int8_share = f"{report['int8_share']:.2%}"
    row.agreement = f"{min(score['agreement'] for score in report['int8']):.2f}"
    found = CliRunner().invoke(snow_deploy, ["inspect", str(int8), "--int8", "--json"])
    row.lint = str(len(json.loads(found.stdout)["findings"]))


def _engine(graph: Path, precision: str) -> str:
    output = graph.with_suffix(".engine")
    options = [precision, "--backend", "tensorrt-rtx", "--target", "sm86", "--no-cache"]
    _run("build-engine", str(graph), *options, "-o", str(output))
    record = json.loads(output.with_name(f"{output.name}.json").read_text(encoding="utf-8"))
    found = record["achieved"]
    return f"{found['in_precision']} of {found['convolutions']}, {record['compute_layers']} kernels"


def _save_weights(row: Row, path: Path) -> None:
    """Save random weights, whose norms have the statistics of some pictures."""
    torch.manual_seed(0)
    network = build_architecture(row.architecture, 10)
    noise = torch.randn(8, 3, row.image_size, row.image_size)
    settle(network, _rendered(row.image_size) if row.architecture in _SETTLED else noise)
    save_file(network.state_dict(), path)


def _rendered(size: int) -> torch.Tensor:
    """Return some training pictures, normalised: [16, 3, S, S]."""
    preprocessing = Preprocessing.for_size(size)
    pictures = open_data(f"demo:shape?{_PICTURES}").train
    cropped = (resize_and_crop(pictures.load(number), preprocessing) for number in range(16))
    return torch.from_numpy(np.stack([normalise(each, preprocessing) for each in cropped]))


def _run(*words: str) -> str:
    """Run a command; return all that it says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = CliRunner().invoke(snow_deploy, list(words))
    if result.exit_code:
        last = (result.stderr.strip().splitlines() or [repr(result.exception)])[-1]
        msg = f"{words[0]}: {last.removeprefix('error: ')}"
        raise StepError(msg)
    return result.output


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the rows as a Markdown table."""
    yield f"| {' | '.join(HEADINGS.values())} |"
    yield f"|{'---|' * len(HEADINGS)}"
    for row in rows:
        yield _line(row)


def _line(row: Row) -> str:
    cells: dict[str, Any] = {**asdict(row), "notes": "; ".join(row.notes)}
    return f"| {' | '.join(str(cells[name]) for name in HEADINGS)} |"


def main(arguments: list[str] | None = None) -> int:
    """Walk, print a table, return the exit code."""
    chosen = _parse(arguments)
    names = chosen.only.split(",") if chosen.only else list(FAMILIES)
    rows: list[Row] = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(walk(name, Path(folder)))
        print(_line(rows[-1]), file=sys.stderr, flush=True)
    print("\n".join(table(rows)))
    document = json.dumps({"families": [asdict(row) for row in rows]})
    if chosen.output:
        chosen.output.write_text(document + "\n", encoding="utf-8")
    print(document)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help="networks to walk, separated by commas; default: all")
    parser.add_argument("--quick", action="store_const", dest="only", const="resnet18")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write the JSON here too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
