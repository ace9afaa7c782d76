from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from snow_calibration.calibrate import calibrate, choose_layers, write_graph
from snow_calibration.errors import CalibrationError
from snow_calibration.float_graph import read_float_graph
from snow_calibration.gate import answers_of, answers_to, scores
from snow_calibration.lint import lint
from snow_calibration.pictures import LabelledPictures, as_input
from snow_calibration.quantisation_plan import layers_of
from snow_calibration.report import write_calibration_report
from snow_calibration.run import (
    CalibrationSettings,
    GatePictures,
    calibrate_and_judge,
    check_request,
)
from snow_runtime import load
from snow_runtime.engine.prepare import prepare_graph
from snow_runtime.errors import GraphError
from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry
from snow_runtime.graph.onnx_file import with_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_calibration.calibrate import Calibration, RestPrecision
    from snow_calibration.pictures import CalibrationPictures


@pytest.fixture(scope="module")
def measured(
    float_graph: Callable[..., Path],
    samples: CalibrationPictures,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Calibration]:
    """Calibrate a float graph by minmax, each form of it once."""

    @cache
    def measure(layout: str = "fused", *, frames: bool = False) -> Calibration:
        ranges = tmp_path_factory.mktemp("ranges") / "r.json"
        return calibrate(float_graph(layout, frames=frames), samples, ranges, method="minmax")

    return measure


@pytest.mark.parametrize(
    "form",
    [("fused", "fp16"), pytest.param(("separate", "fp32"), marks=pytest.mark.slow)],
)
def test_the_whole_way(
    float_graph: Callable[..., Path],
    samples: CalibrationPictures,
    truth: dict[str, LabelledPictures],
    tmp_path: Path,
    form: tuple[str, RestPrecision],
) -> None:
    layout, rest = form
    graph, output = float_graph(layout), tmp_path / "snow.int8.onnx"
    settings = CalibrationSettings(tmp_path / "r.json", "minmax", rest, max_drop=100)

    report = calibrate_and_judge(graph, output, samples, truth, settings)

    assert lint(onnx.load(output)) == ()
    # The figures are those of the written file, computed anew.
    again = scores(answers_of(output, truth), answers_of(graph, truth), truth)
    assert again == report.int8
    assert report.holds
    assert report.written
    assert report.steps == ()
    assert report.file_bytes == (graph.stat().st_size, output.stat().st_size)
    assert output.stat().st_size < 0.35 * graph.stat().st_size
    with load(output) as model:
        entry = model.manifest.quantisation
        assert model.manifest.precision == "int8"
        assert entry is not None
        assert (entry.method, entry.samples, entry.rest, entry.kept) == ("minmax", 20, rest, ())
        assert model(samples.pixels[0])["food"].label
    # INT8 is near fp32, and not the same.
    for score in report.int8:
        assert score.agreement >= 0.6
        assert score.logit_error > 0
    assert all(score.drop == 0 and score.logit_error == 0 for score in report.fp32)
    assert all(score.logit_error < 0.01 for score in report.fp16)


def coarse(graph: Path, samples: CalibrationPictures, ranges: Path) -> None:
    """Measure ranges with steps so coarse that tasks are answered by chance."""
    calibrate(graph, samples, ranges, method="minmax")
    document = json.loads(ranges.read_text())
    document["thresholds"] = {name: value * 40 for name, value in document["thresholds"].items()}
    ranges.write_text(json.dumps(document))


def test_a_failing_gate_writes_nothing_and_reports(
    small_graph: Path,
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    output = tmp_path / "snow.int8.onnx"
    output.write_bytes(b"before")
    coarse(small_graph, small_samples, tmp_path / "r.json")
    settings = CalibrationSettings(
        tmp_path / "r.json", "minmax", max_drop=10, accept_undecided=True
    )

    report = calibrate_and_judge(small_graph, output, small_samples, small_truth, settings)

    assert (report.outcome, report.holds, report.written) == ("fail", False, False)
    assert output.read_bytes() == b"before"
    (verdict,) = report.verdicts
    assert verdict.least_drop > 10
    assert any(line.startswith(f"food: fail; lost {verdict.lost} ") for line in report.lines())
    written, picture = write_calibration_report(report, tmp_path / "report.json")
    document = json.loads(written.read_text())
    assert (document["holds"], document["outcome"]) == (False, "fail")
    assert document["verdicts"][0].keys() >= {"lost", "won", "least_drop", "most_drop", "mcnemar"}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_undecided_graph_is_written_only_where_that_is_accepted(
    small_graph: Path,
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    output, ranges = tmp_path / "snow.int8.onnx", tmp_path / "r.json"
    coarse(small_graph, small_samples, ranges)
    # A gate that all of its pictures could pass, and a graph that loses just as much.
    measured = calibrate_and_judge(
        small_graph,
        output,
        small_samples,
        small_truth,
        CalibrationSettings(ranges, "minmax", max_drop=100),
    )
    output.unlink()

    settings = CalibrationSettings(ranges, "minmax", max_drop=measured.int8[0].drop)
    report = calibrate_and_judge(small_graph, output, small_samples, small_truth, settings)
    assert (report.outcome, report.written, output.exists()) == ("undecided", False, False)

    settings = replace(settings, accept_undecided=True)
    report = calibrate_and_judge(small_graph, output, small_samples, small_truth, settings)
    assert (report.outcome, report.written, output.exists()) == ("undecided", True, True)


def test_too_few_pictures_are_refused_before_the_long_part(
    float_graph: Callable[..., Path],
    samples: CalibrationPictures,
    truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    output, ranges = tmp_path / "x.onnx", tmp_path / "r.json"

    with pytest.raises(CalibrationError, match="has 20 pictures to judge by, too few"):
        calibrate_and_judge(
            float_graph(), output, samples, truth, CalibrationSettings(ranges, "minmax")
        )
    settings = CalibrationSettings(ranges, "minmax", max_drop=0)
    with pytest.raises(CalibrationError, match=r"max_drop is 0, expected more than 0"):
        calibrate_and_judge(float_graph(), output, samples, truth, settings)
    few = {
        task: LabelledPictures(labelled.pixels[:9], labelled.targets[:9])
        for task, labelled in truth.items()
    }
    settings = CalibrationSettings(ranges, "minmax", accept_undecided=True)
    with pytest.raises(CalibrationError, match="has 9 pictures to judge by, expected 16"):
        calibrate_and_judge(float_graph(), output, samples, few, settings)
    assert list(tmp_path.iterdir()) == []


def test_pictures_without_labels_decide_where_those_with_labels_are_few(
    small_graph: Path,
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    pixels = np.random.default_rng(6).integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)
    judged = GatePictures(small_truth, unlabelled={"food": pixels})
    output, ranges = tmp_path / "x.onnx", tmp_path / "r.json"
    coarse(small_graph, small_samples, ranges)
    settings = CalibrationSettings(ranges, "minmax", max_drop=99.9)

    report = calibrate_and_judge(small_graph, output, small_samples, judged, settings)

    expected = answers_to(small_graph, judged.unlabelled)["food"].argmax(1)
    changed = int((answers_to(output, judged.unlabelled)["food"].argmax(1) != expected).sum())
    (verdict,) = report.verdicts
    assert changed > 0
    assert (verdict.unlabelled, verdict.changed) == (80, changed)
    assert verdict.most_changed is not None
    assert verdict.most_changed >= 100 * changed / 80


@pytest.fixture
def several(
    small_graph: Path, small_samples: CalibrationPictures, tmp_path: Path
) -> tuple[Path, GatePictures]:
    """Make a graph whose labels may be right together, judged by what it answers itself."""
    graph = tmp_path / "several.onnx"
    manifest = read_float_graph(small_graph).manifest
    tasks = tuple(
        replace(task, answers="several", metrics={"accuracy": 0.2, "exact_match": 1.0})
        for task in manifest.tasks
    )
    onnx.save(with_manifest(onnx.load(small_graph), replace(manifest, tasks=tasks)), graph)
    pixels = np.random.default_rng(6).integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)
    answers = answers_to(graph, {"food": small_samples.pixels})["food"]
    truth = {"food": LabelledPictures(small_samples.pixels, answers >= 0, "measured")}
    mirrored = small_samples.pixels[:, ::-1].copy()
    other = {"food": LabelledPictures(mirrored, answers >= 0)}
    return graph, GatePictures(truth, other, {"food": pixels})


@pytest.mark.parametrize("auto", [False, True])
def test_a_task_of_several_answers_is_judged_by_pictures(
    several: tuple[Path, GatePictures],
    small_samples: CalibrationPictures,
    tmp_path: Path,
    auto: bool,
) -> None:
    graph, judged = several
    output, ranges = tmp_path / "x.onnx", tmp_path / "r.json"
    coarse(graph, small_samples, ranges)
    settings = CalibrationSettings(ranges, "minmax", max_drop=99.9, auto=auto)

    report = calibrate_and_judge(graph, output, small_samples, judged, settings)

    truth = judged.truth["food"]
    now = answers_of(output, judged.truth)["food"] >= 0
    lost = int((now != truth.targets).any(1).sum())  # fp32 is right everywhere
    (verdict,) = report.verdicts
    assert report.outcome == "pass"
    assert (verdict.pictures, verdict.lost, verdict.won) == (40, lost, 0)
    assert report.int8[0].top1 == (40 - lost) / 40
    assert report.fp32[0].top1 == 1
    before, after = (answers_to(path, judged.unlabelled)["food"] >= 0 for path in (graph, output))
    assert (verdict.unlabelled, verdict.changed) == (80, int((before != after).any(1).sum()))
    assert verdict.changed > 0
    with load(output) as model:
        assert model.manifest.tasks[0].answers == "several"
    write_calibration_report(report, tmp_path / "report.json")


def test_a_task_of_several_answers_can_fail(
    several: tuple[Path, GatePictures], small_samples: CalibrationPictures, tmp_path: Path
) -> None:
    graph, judged = several
    coarse(graph, small_samples, tmp_path / "r.json")
    settings = CalibrationSettings(tmp_path / "r.json", "minmax", max_drop=10)

    report = calibrate_and_judge(graph, tmp_path / "x.onnx", small_samples, judged, settings)

    assert report.outcome == "fail"
    assert not (tmp_path / "x.onnx").exists()


def test_classes_do_not_judge_a_task_of_several_answers(
    several: tuple[Path, GatePictures],
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    settings = CalibrationSettings(tmp_path / "r.json", "minmax", max_drop=10)

    with pytest.raises(CalibrationError, match=r"are \[40\], expected \[40, 5\]: it has several"):
        calibrate_and_judge(several[0], tmp_path / "x.onnx", small_samples, small_truth, settings)
    assert not (tmp_path / "r.json").exists()


def test_an_accuracy_that_is_not_the_stored_one_is_refused(
    small_graph: Path,
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    graph, output = tmp_path / "snow.onnx", tmp_path / "x.onnx"
    manifest = read_float_graph(small_graph).manifest
    tasks = tuple(replace(task, metrics={"accuracy": 0.3}) for task in manifest.tasks)
    onnx.save(with_manifest(onnx.load(small_graph), replace(manifest, tasks=tasks)), graph)
    settings = CalibrationSettings(tmp_path / "r.json", "minmax", max_drop=100)

    with pytest.raises(CalibrationError, match=r"rightly, expected 0\.3000 as when it was trained"):
        calibrate_and_judge(graph, output, small_samples, small_truth, settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snow.onnx"]

    accepting = replace(settings, other_pictures=True)
    report = calibrate_and_judge(graph, output, small_samples, small_truth, accepting)
    assert sum("expected 0.3000" in note for note in report.notes) == 1


def test_the_search_ranks_every_layer_and_gives_the_worst_back(
    small_graph: Path,
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("snow_calibration.run._MOST_GIVEN_BACK", 0.5)
    monkeypatch.setattr("snow_calibration.run.would_pass", lambda *_: False)
    settings = CalibrationSettings(
        tmp_path / "r.json", "minmax", max_drop=100, auto=True, keep=["conv1"]
    )
    pixels = small_samples.pixels[:10, ::-1].copy()
    other = {"food": LabelledPictures(pixels, small_truth["food"].targets[:10])}
    judged, output = GatePictures(small_truth, search=other), tmp_path / "x.onnx"

    report = calibrate_and_judge(small_graph, output, small_samples, judged, settings)

    names = layers_of(onnx.load(small_graph).graph)
    ranked = [item.layer for item in report.sensitivities]
    assert sorted(ranked) == sorted(set(names) - {"conv1"})
    assert [step.added for step in report.steps] == [None, *ranked[: len(report.steps) - 1]]
    assert len(report.steps) == 1 + round(0.5 * len(names)) > 2
    # The more is given back, the nearer the answers come to fp32's.
    first, last = (report.steps[n].scores[0].logit_error for n in (0, -1))
    assert last < first
    # It is chosen on one set of pictures and judged by the other, once.
    assert {score.pictures for step in report.steps for score in step.scores} == {10}
    assert [verdict.pictures for verdict in report.verdicts] == [40]
    assert report.kept == report.steps[-1].kept
    assert report.int8 == scores(
        answers_of(output, small_truth), answers_of(small_graph, small_truth), small_truth
    )
    assert any("on the pictures searched on" in line for line in report.lines())
    write_calibration_report(report, tmp_path / "report.json")


def test_layers_are_not_chosen_on_the_pictures_that_judge(
    float_graph: Callable[..., Path],
    samples: CalibrationPictures,
    truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    settings = CalibrationSettings(tmp_path / "r.json", "minmax", max_drop=100, auto=True)

    with pytest.raises(CalibrationError, match="no pictures to search on for birds, cars, food"):
        calibrate_and_judge(float_graph(), tmp_path / "x.onnx", samples, truth, settings)


def test_layers_that_are_kept_are_kept(
    small_graph: Path,
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    output = tmp_path / "snow.int8.onnx"
    settings = CalibrationSettings(tmp_path / "r.json", "minmax", max_drop=100, keep=["conv[12]"])

    report = calibrate_and_judge(small_graph, output, small_samples, small_truth, settings)

    model = onnx.load(output)
    kept = {node.name: node for node in model.graph.node if node.name in report.kept}
    assert sorted(kept) == ["conv1", "conv2"]
    assert all(not node.input[1].endswith("/dequantised") for node in kept.values())
    assert lint(model) == ()


@pytest.mark.parametrize(
    "form", [{"frames": True}, pytest.param({"batch": 2}, marks=pytest.mark.slow)], ids=str
)
def test_other_inputs_are_calibrated_alike(
    float_graph: Callable[..., Path],
    measured: Callable[..., Calibration],
    samples: CalibrationPictures,
    tmp_path: Path,
    form: dict[str, Any],
) -> None:
    plain = measured()

    other = calibrate(float_graph(**form), samples, tmp_path / "r.json", method="minmax")

    found = other.ranges.thresholds
    same = found.keys() & plain.ranges.thresholds.keys()
    assert len(same) >= len(found) - 1
    for name in same:
        assert found[name] == pytest.approx(plain.ranges.thresholds[name], rel=1e-3)
    onnx.checker.check_model(other.int8(), full_check=True)


def test_graphs_that_cannot_be_calibrated(
    small_graph: Path,
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    ranges, int8, half = tmp_path / "r.json", tmp_path / "int8.onnx", tmp_path / "half.onnx"
    model, manifest = onnx.load(small_graph), read_float_graph(small_graph).manifest
    onnx.save(with_manifest(model, replace(manifest, precision="fp16")), half)
    with pytest.raises(CalibrationError, match="is fp16, expected fp32"):
        calibrate(half, small_samples, ranges)

    settings = CalibrationSettings(ranges, "minmax", max_drop=100)
    calibrate_and_judge(small_graph, int8, small_samples, small_truth, settings)
    with pytest.raises(CalibrationError, match="is quantised already"):
        calibrate(int8, small_samples, tmp_path / "other.json")

    foreign = tmp_path / "foreign.onnx"
    del model.metadata_props[:]
    onnx.save(model, foreign)
    with pytest.raises(CalibrationError, match="carries no manifest"):
        calibrate(foreign, small_samples, tmp_path / "other.json")
    with pytest.raises(GraphError, match="does not exist"):
        calibrate(tmp_path / "none.onnx", small_samples, tmp_path / "other.json")


def test_ranges_of_another_graph_are_refused(
    small_graph: Path, small_samples: CalibrationPictures, tmp_path: Path
) -> None:
    ranges, other = tmp_path / "r.json", tmp_path / "other.onnx"
    calibrate(small_graph, small_samples, ranges, method="minmax")
    model = onnx.load(small_graph)
    bias = model.graph.initializer[1]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, bias.name))
    onnx.save(model, other)

    with pytest.raises(CalibrationError, match="something else: graph_sha256"):
        calibrate(other, small_samples, ranges, method="minmax")
    with pytest.raises(CalibrationError, match="something else: method minmax, expected mse"):
        calibrate(small_graph, small_samples, ranges, method="mse")


def test_pictures_of_another_size_are_refused(
    small_graph: Path, samples: CalibrationPictures, tmp_path: Path
) -> None:
    with pytest.raises(CalibrationError, match="pictures are of 64 pixels, expected 8"):
        calibrate(small_graph, samples, tmp_path / "r.json")


def test_an_unwritable_output(
    small_graph: Path,
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    settings = CalibrationSettings(tmp_path / "r.json", "minmax", max_drop=100)

    with pytest.raises(CalibrationError, match="cannot be written"):
        calibrate_and_judge(
            small_graph, tmp_path / "file" / "x.onnx", small_samples, small_truth, settings
        )


def test_files_are_not_written_over_each_other(
    float_graph: Callable[..., Path],
    samples: CalibrationPictures,
    truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    graph = tmp_path / "snow.onnx"
    graph.write_bytes(float_graph().read_bytes())
    ranges, other = tmp_path / "r.json", tmp_path / "x.onnx"

    for output, where in ((graph, ranges), (other, graph), (other, other)):
        with pytest.raises(CalibrationError, match="are the same file"):
            calibrate_and_judge(graph, output, samples, truth, CalibrationSettings(where))
    assert graph.read_bytes() == float_graph().read_bytes()
    assert list(tmp_path.iterdir()) == [graph]


def test_int8_kernels_do_not_saturate(tmp_path: Path) -> None:
    """x86 without VNNI adds two products in 16 bits unless told not to: 2 * 255 * 127 is too much.

    A white picture and the largest weights, between pairs as ONNX Runtime's kernels want them.
    """
    constants: dict[str, NDArray[Any]] = {
        "scale": np.array(0.021, np.float32),
        "zero": np.array(0, np.int8),
        "weight": np.full((4, 3, 1, 1), 127, np.int8),
        "weight scale": np.full(4, 0.01, np.float32),
        "weight zero": np.zeros(4, np.int8),
        "sum scale": np.array(0.1, np.float32),
    }
    pair = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["image", *pair], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", *pair], ["x"]),
        helper.make_node(
            "DequantizeLinear", ["weight", "weight scale", "weight zero"], ["w"], axis=0
        ),
        helper.make_node("Conv", ["x", "w"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "sum scale", "zero"], ["y8"]),
        helper.make_node("DequantizeLinear", ["y8", "sum scale", "zero"], ["z"]),
        helper.make_node("GlobalAveragePool", ["z"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["food"]),
    ]
    graph = helper.make_graph(
        nodes,
        "white",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, 8, 8])],
        [helper.make_tensor_value_info("food", TensorProto.FLOAT, ["B", 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    task = TaskEntry("food", "food", ("a", "b", "c", "d"), sha256="0" * 64)
    manifest = Manifest(
        SourceEntry("one convolution", "1" * 64, 12), Preprocessing.for_size(8), (task,)
    )
    path = tmp_path / "white.onnx"
    onnx.save(with_manifest(model, manifest), path)
    white = {"food": LabelledPictures(np.full((3, 8, 8, 3), 255, np.uint8), np.zeros(3, np.int64))}

    found = answers_of(path, white)["food"]

    planes = as_input(white["food"].pixels, manifest)
    levels = np.rint(planes / np.float32(0.021)).clip(-128, 127)
    exact = (levels * 0.021 * 127 * 0.01).sum(1).mean((1, 2))  # [3]
    assert np.allclose(found, np.minimum(exact, 12.7)[:, None], atol=0.051)


def test_a_rest_that_overflows_half_precision(
    small_graph: Path,
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    graph, output = tmp_path / "snow.onnx", tmp_path / "int8.onnx"
    model = onnx.load(small_graph)
    bias = next(t for t in model.graph.initializer if t.name == "b1")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1e5, bias.name))
    onnx.save(model, graph)

    with pytest.raises(CalibrationError, match=r"rest cannot be fp16: .* Give --rest fp32"):
        calibrate(graph, small_samples, tmp_path / "r.json")
    settings = CalibrationSettings(tmp_path / "r.json", "minmax", "fp32", max_drop=100)
    report = calibrate_and_judge(graph, output, small_samples, small_truth, settings)
    assert report.fp16 == ()
    assert any("fp16 was not measured" in line for line in report.lines())
    write_calibration_report(report, tmp_path / "report.json")


def test_layers_are_chosen_by_pattern() -> None:
    layers = ("source/conv1", "source/layer4.0.conv1", "food/fc", "food+cub/layer4.0.conv1")

    assert choose_layers(layers, ["*/layer4.0.*"]) == (layers[1], layers[3])
    assert choose_layers(layers, ["food/fc", "source/conv1"]) == (layers[0], layers[2])
    assert choose_layers(layers, []) == ()
    with pytest.raises(CalibrationError, match="leaves none for INT8"):
        choose_layers(layers, ["*"])
    with pytest.raises(CalibrationError, match=r"no layer is called 'sorce/conv1'.*source/conv1"):
        choose_layers(layers, ["sorce/conv1"])


@pytest.mark.parametrize(
    ("layout", "frames"),
    [
        ("fused", False),
        ("separate", False),
        pytest.param("fused", True, marks=pytest.mark.slow),
        pytest.param("summed", False, marks=pytest.mark.slow),
    ],
)
def test_an_engine_finds_every_layer_that_was_quantised(
    measured: Callable[..., Calibration], tmp_path: Path, layout: str, frames: bool
) -> None:
    found, output = measured(layout, frames=frames), tmp_path / "int8.onnx"
    kept = found.layers[1:3]

    for chosen in ((), kept):
        write_graph(found.int8(chosen), output)
        expected = tuple(name for name in found.layers if name not in chosen)
        assert prepare_graph(output, "int8").quantised == expected


@pytest.mark.tensorrt
@pytest.mark.parametrize(
    "layout",
    ["fused", *(pytest.param(each, marks=pytest.mark.slow) for each in ("separate", "summed"))],
)
def test_tensorrt_builds_an_engine_of_what_was_calibrated(
    measured: Callable[..., Calibration], tmp_path: Path, layout: str
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    from snow_runtime.engine.make import build_engine
    from snow_runtime.engine.options import BuildOptions

    graph, output = tmp_path / "int8.onnx", tmp_path / "int8.engine"
    found = measured(layout)
    write_graph(found.int8(), graph)
    options = BuildOptions("int8", ("sm86",), least_share=1)

    built = build_engine(graph, output, options, backend_name="tensorrt-rtx")

    achieved = built.record.achieved
    assert achieved.in_precision == achieved.convolutions == len(found.layers)
    assert achieved.by_precision == {"int8": len(found.layers)}


@pytest.mark.tensorrt
@pytest.mark.parametrize(
    ("layout", "target"),
    [("fused", "sm86"), pytest.param("summed", "sm89", marks=pytest.mark.slow)],
)
def test_tensorrt_compiles_int8_convolutions(
    measured: Callable[..., Calibration], target: str, layout: str
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    from snow_runtime.engine.build import compile_graph

    found = measured(layout)
    compiled = compile_graph(found.int8().SerializeToString(), target)
    half = found.half().SerializeToString()

    # Convolutions leave INT32 sums behind; whatever feeds them is INT8 then, and half otherwise.
    kinds = Counter(layer.dtype for layer in compiled.compute_layers)
    plain = Counter(layer.dtype for layer in compile_graph(half, target).compute_layers)
    assert plain["Int8"] == 0
    assert kinds["Int8"] > 0.25 * len(found.layers)
    assert kinds["Half"] < 0.1 * plain["Half"]


def test_a_dead_layer_is_calibrated_and_its_ranges_reused(
    small_graph: Path, small_samples: CalibrationPictures, tmp_path: Path
) -> None:
    """A convolution that always answers below zero: nothing comes out of its ReLU."""
    model, path = onnx.load(small_graph), tmp_path / "dead.onnx"
    dead = {"w1": 0.0, "b1": -1.0}
    for tensor in model.graph.initializer:
        if tensor.name in dead:
            value = np.full(tensor.dims, dead.pop(tensor.name), np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    assert not dead
    onnx.save(model, path)

    first = calibrate(path, small_samples, tmp_path / "r.json")
    again = calibrate(path, small_samples, tmp_path / "r.json")

    assert 0.0 in first.ranges.thresholds.values()
    assert again.ranges == first.ranges
    assert lint(again.int8()) == ()


def test_weights_in_another_file_are_part_of_the_graph(
    float_graph: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "outside.onnx"
    plain = onnx.load(float_graph())
    onnx.save(plain, path, save_as_external_data=True, location="w.bin", size_threshold=1)
    before = read_float_graph(path)
    weights = bytearray((tmp_path / "w.bin").read_bytes())
    weights[5] ^= 1
    (tmp_path / "w.bin").write_bytes(weights)

    after = read_float_graph(path)

    assert before.sha256 != after.sha256
    assert before.size_bytes == after.size_bytes > 0.9 * plain.ByteSize()


def test_ranges_that_cannot_be_written_are_told_before_the_long_part(
    float_graph: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings = CalibrationSettings(tmp_path / "file" / "r.json")

    with pytest.raises(CalibrationError, match=r"r\.json cannot be written: .* another --ranges"):
        check_request(float_graph(), tmp_path / "x.onnx", settings)
