"""INT8 by several tools from one graph and one set of pictures: accuracy, agreement, lint findings.

    python -m benchmarks.int8 snow.onnx --data imagefolder:photos/textures …

Contenders: our calibration with each method, `onnxruntime.quantization.quantize_static` with the
settings that TensorRT needs, and nvidia-modelopt where it is installed. All files run in ONNX
Runtime on the CPU, the rest of the graph in fp32. The last printed line is one JSON object.
Without a graph nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import onnx

from snow_calibration.calibrate import calibrate, write_graph
from snow_calibration.float_graph import read_float_graph
from snow_calibration.gate import answers_of, scores
from snow_calibration.lint import lint
from snow_calibration.pictures import as_input
from snow_calibration.thresholds import ThresholdMethod
from snow_deploy.stages.calibration_pictures import Drawing, pictures_of
from snow_runtime.backends.import_onnxruntime import silence_onnxruntime
from snow_runtime.graph.onnx_file import with_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snow_calibration.pictures import CalibrationPictures


def main() -> None:
    """Measure every contender and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("graph", type=Path, nargs="?", help="an fp32 graph of snow-deploy export")
    parser.add_argument("--data", action="append", help="as for calibrate")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--only", action="append", help="contenders to run; default all")
    chosen = parser.parse_args()
    if chosen.graph is None or not chosen.data:
        print("not measured: needs a trained graph and its data; see --help")
        return
    logging.getLogger().setLevel(logging.ERROR)
    drawing = Drawing(chosen.samples, judged=100_000)
    samples, judged = pictures_of(chosen.graph, chosen.data, drawing)
    truth = judged.truth
    reference = answers_of(chosen.graph, truth)
    found: dict[str, Any] = {}
    print(f"{'contender':<22} {'task':<14} {'top-1':>7} {'drop':>6} {'agreement':>9} {'error':>8}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        for name, make in _contenders(chosen.graph, samples, Path(folder)):
            if chosen.only and name not in chosen.only:
                continue
            try:
                make(path)
            except ImportError as error:
                print(f"{name:<22} not measured: {error}")
                continue
            measured = scores(answers_of(path, truth), reference, truth)
            findings = lint(onnx.load(path))
            found[name] = {
                "findings": len(findings),
                "rules": sorted({finding.rule for finding in findings}),
                "file_bytes": path.stat().st_size,
                "scores": [score.to_dict() for score in measured],
            }
            for score in measured:
                print(
                    f"{name:<22} {score.task:<14} {score.top1:>7.4f} {score.drop:>6.2f} "
                    f"{score.agreement:>9.4f} {score.logit_error:>8.4f}"
                )
            print(f"{name:<22} {len(findings)} findings {found[name]['rules']}", flush=True)
    print(json.dumps(found))


def _contenders(
    graph: Path, samples: CalibrationPictures, folder: Path
) -> Iterator[tuple[str, Callable[[Path], None]]]:
    for method in get_args(ThresholdMethod):

        def ours(path: Path, method: ThresholdMethod = method) -> None:
            ranges = folder / f"{method}.json"
            made = calibrate(graph, samples, ranges, method=method, rest="fp32")
            write_graph(made.int8(), path)

        yield f"ours {method}", ours
    for method in ("MinMax", "Percentile"):
        yield (
            f"onnxruntime {method}",
            lambda path, method=method: _onnxruntime(graph, samples, path, method),
        )
    for method in ("max", "entropy"):
        yield (
            f"modelopt {method}",
            lambda path, method=method: _modelopt(graph, samples, path, method),
        )


def _onnxruntime(graph: Path, samples: CalibrationPictures, path: Path, method: str) -> None:
    silence_onnxruntime()
    from onnxruntime.quantization import (  # noqa: TID251 - silenced above
        CalibrationDataReader,
        CalibrationMethod,
        QuantType,
        quantize_static,
    )

    _, manifest = read_float_graph(graph)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(range(len(samples)))

        def get_next(self) -> dict[str, Any] | None:
            index = next(self.left, None)
            if index is None:
                return None
            return {manifest.input.name: as_input(samples.pixels[index : index + 1], manifest)}

    quantize_static(
        str(graph),
        str(path),
        Reader(),
        op_types_to_quantize=["Conv", "Gemm", "Add", "Concat", "MaxPool"],
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, method),
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": ["Conv", "Gemm"],
            "CalibTensorRangeSymmetric": True,
        },
    )
    _give_manifest(graph, path)


def _modelopt(graph: Path, samples: CalibrationPictures, path: Path, method: str) -> None:
    from modelopt.onnx.quantization import quantize  # type: ignore[import-not-found]

    _, manifest = read_float_graph(graph)
    feed = np.concatenate(
        [as_input(samples.pixels[n : n + 1], manifest) for n in range(len(samples))]
    )
    own = path.with_name("modelopt.onnx")
    shutil.copyfile(graph, own)  # modelopt 0.47 writes into the file that it reads
    quantize(
        str(own),
        quantize_mode="int8",
        calibration_data={manifest.input.name: feed},
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(path),
        log_level="ERROR",
    )
    _give_manifest(graph, path)


def _give_manifest(graph: Path, path: Path) -> None:
    """Put back the metadata that other tools drop, so that the runtime opens the file."""
    _, manifest = read_float_graph(graph)
    model = onnx.load(path)
    onnx.save(with_manifest(model, manifest), path)


if __name__ == "__main__":
    main()
