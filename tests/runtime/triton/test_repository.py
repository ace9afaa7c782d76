from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx
import pytest

pytest.importorskip("tritonclient.grpc")

from snow_runtime.engine.options import BuildOptions
from snow_runtime.errors import EngineError, GraphError, InputError, ManifestError
from snow_runtime.graph.manifest import InputEntry, Manifest, Quantisation, TaskEntry
from snow_runtime.model import load
from snow_runtime.triton.options import TritonOptions
from snow_runtime.triton.repository import add_version
from tests.runtime.engine.records import PLAN, engine_in
from tests.runtime.readout.graphs import feature_graph
from tests.runtime.triton.reading import read_config, tensors, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tests.runtime.conftest import Graph, MakeGraph


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def add(models: Path, path: Path, **options: Any) -> Path:
    return add_version(models, path, TritonOptions(**options)).folder


def test_a_graph_is_served_as_it_is(models: Path, graph: Graph, frame: NDArray[np.uint8]) -> None:
    folder = add(models, graph.path, name="door", instances=2, device="cpu", queue_delay_ms=1.5)

    assert folder == models / "door/1"
    config = read_config(models / "door")
    assert (config.name, config.backend, config.max_batch_size) == ("door", "onnxruntime", 8)
    assert tensors(config.input) == {"image": ("TYPE_FP32", [3, 8, 8])}
    assert config.input[0].format == config.input[0].FORMAT_NCHW
    assert tensors(config.output) == {"food": ("TYPE_FP32", [4]), "birds": ("TYPE_FP32", [2])}
    assert config.dynamic_batching.max_queue_delay_microseconds == 1500
    (group,) = config.instance_group
    assert (group.count, group.kind) == (2, group.KIND_CPU)
    assert config.version_policy.HasField("all")
    assert [each.batch_size for each in config.model_warmup] == [1, 8]
    for sample in config.model_warmup:
        assert list(sample.inputs["image"].dims) == [3, 8, 8]
        assert sample.inputs["image"].zero_data
    (food, birds) = config.output
    labels = (models / "door" / food.label_filename).read_text(encoding="utf-8")
    assert labels.splitlines() == ["pizza", "soup", "crème brûlée", "tea"]
    assert (models / "door" / birds.label_filename).read_text() == "wren\ngull\n"
    with load(graph.path) as there, load(folder / "model.onnx") as copy:
        for task in ("food", "birds"):
            assert (copy(frame)[task].probabilities == there(frame)[task].probabilities).all()


def test_threads_are_a_parameter_of_the_backend(models: Path, graph: Graph) -> None:
    add(models, graph.path, threads=3)
    assert add(models, graph.path, threads=3).name == "2"
    parameters = read_config(models / "graph").parameters
    assert parameters["intra_op_thread_count"].string_value == "3"


def test_what_a_client_needs_of_the_manifest_travels_in_the_config(
    models: Path, graph: Graph
) -> None:
    add(models, graph.path)
    parameters = read_config(models / "graph").parameters
    (key,) = parameters
    assert key == "snow_deploy.manifest.1"
    carried = Manifest.from_json(parameters[key].string_value)
    own = graph.manifest
    assert (carried.preprocessing, carried.input) == (own.preprocessing, own.input)
    assert [(task.name, task.output, task.labels) for task in carried.tasks] == [
        (task.name, task.output, task.labels) for task in own.tasks
    ]
    assert all(task.selections == {} for task in carried.tasks)


def test_versions_lie_side_by_side_and_none_is_changed(
    models: Path, make_graph: MakeGraph, manifest: Manifest
) -> None:
    first = make_graph("door.onnx").path
    add(models, first)
    config = models / "door/config.pbtxt"
    config.write_text(config.read_text() + "# tuned by hand\n")
    before = tree(models)
    other = replace(manifest, preprocessing=replace(manifest.preprocessing, mean=(0.1, 0.2, 0.3)))
    shutil.copy(make_graph("next.onnx", manifest=other, scale=2.0).path, first)

    assert add(models, first).name == "2"
    assert add(models, first, version=7).name == "7"
    assert add(models, first).name == "8"

    after = tree(models)
    assert {name: after[name] for name in before if "config" not in name} == {
        name: content for name, content in before.items() if "config" not in name
    }
    assert "# tuned by hand" in config.read_text()
    found = read_config(models / "door")
    assert set(found.parameters) == {f"snow_deploy.manifest.{number}" for number in (1, 2, 7, 8)}
    means = [
        Manifest.from_json(
            found.parameters[f"snow_deploy.manifest.{n}"].string_value
        ).preprocessing.mean
        for n in (1, 2)
    ]
    assert means == [manifest.preprocessing.mean, (0.1, 0.2, 0.3)]


def test_a_version_that_is_there_is_refused(models: Path, graph: Graph) -> None:
    add(models, graph.path, version=3)
    before = tree(models)
    with pytest.raises(InputError, match=r"version 3, and versions are never.*version 4"):
        add(models, graph.path, version=3)
    assert tree(models) == before


def other_labels(manifest: Manifest) -> Manifest:
    first, second = manifest.tasks
    return replace(manifest, tasks=(first, replace(second, labels=("gull", "wren"))))


def more_labels(manifest: Manifest) -> Manifest:
    first, second = manifest.tasks
    return replace(manifest, tasks=(first, replace(second, labels=("a", "b", "c"))))


def fewer_tasks(manifest: Manifest) -> Manifest:
    return replace(manifest, tasks=manifest.tasks[:1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_labels, "labels of 'birds' are others"),
        (more_labels, r"output 'birds' is FP32 \[2\], and would be FP32 \[3\]"),
        (fewer_tasks, r"output 'birds' is FP32 \[2\], and would be not there"),
    ],
)
def test_a_version_that_does_not_fit_the_others_is_refused(
    models: Path,
    make_graph: MakeGraph,
    manifest: Manifest,
    change: Callable[[Manifest], Manifest],
    said: str,
) -> None:
    add(models, make_graph().path, name="door")
    before = tree(models)
    path = make_graph("other.onnx", manifest=change(manifest)).path
    with pytest.raises(InputError, match=rf"{said}.*Give another --name"):
        add(models, path, name="door")
    assert tree(models) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "python"}, "form is onnxruntime, and would be python"),
        ({"max_batch": 4}, "batch is 8, and would be 4"),
        ({"instances": 3}, "instances are 1, and would be 3"),
        ({"threads": 2}, "threads are not said, and would be 2"),
        ({"device": "cpu"}, "device is left to Triton, and would be cpu"),
        ({"queue_delay_ms": 2}, "delay is 0 ms, and would be 2 ms"),
        ({"warm_up": False}, "warm-up is on, and would not be"),
    ],
)
def test_an_option_that_the_config_contradicts_is_refused(
    models: Path, graph: Graph, options: dict[str, Any], said: str
) -> None:
    add(models, graph.path)
    before = tree(models)
    with pytest.raises(InputError, match=said):
        add(models, graph.path, **options)
    assert tree(models) == before


def test_what_was_set_by_hand_holds_for_the_next_version(models: Path, graph: Graph) -> None:
    add(models, graph.path, form="python")
    config = models / "graph/config.pbtxt"
    text = config.read_text().replace("max_batch_size: 8", "max_batch_size: 32")
    config.write_text(text.replace("count: 1", "count: 4"))
    assert add(models, graph.path).name == "2"
    assert add(models, graph.path, max_batch=32, instances=4, form="python").name == "3"
    found = read_config(models / "graph")
    assert (found.max_batch_size, found.instance_group[0].count) == (32, 4)


def test_a_limit_that_was_lowered_by_hand_holds_for_the_next_engine(
    models: Path, tmp_path: Path, make_graph: MakeGraph
) -> None:
    path = engine_in(tmp_path)
    add(models, path)
    config = models / "snow/config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 4", "max_batch_size: 3"))
    assert add(models, path).name == "2"
    config.write_text(config.read_text().replace("max_batch_size: 3", "max_batch_size: 6"))
    with pytest.raises(InputError, match="the batch is 6, and would be 4"):
        add(models, path)
    graph = make_graph("other.onnx").path
    with pytest.raises(InputError, match="the form is tensorrt, and would be onnxruntime"):
        add(models, graph, name="snow")


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_an_axis_of_the_tensors(
    models: Path, make_graph: MakeGraph, batch: int
) -> None:
    path = make_graph(input_shape=(batch, 3, 8, 8)).path
    add(models, path)
    config = read_config(models / "graph")
    assert config.max_batch_size == 0
    assert tensors(config.input) == {"image": ("TYPE_FP32", [batch, 3, 8, 8])}
    assert config.input[0].format == config.input[0].FORMAT_NONE  # takes three axes only
    assert tensors(config.output)["food"] == ("TYPE_FP32", [batch, 4])
    assert not config.HasField("dynamic_batching")
    (sample,) = config.model_warmup
    assert (sample.batch_size, list(sample.inputs["image"].dims)) == (1, [batch, 3, 8, 8])
    with pytest.raises(InputError, match=rf"takes {batch} picture\(s\).*--max-batch is 8"):
        add(models, path, name="more", max_batch=8)
    assert not (models / "more").exists()
    add(models, path, name="filled", form="python", max_batch=8)
    assert read_config(models / "filled").max_batch_size == 8


def test_frames_of_bytes_are_taken_as_such(
    models: Path, make_graph: MakeGraph, manifest: Manifest
) -> None:
    frames = replace(manifest, input=InputEntry("image", "uint8", "NHWC", "bgr"))
    nodes = make_graph(manifest=frames, input_type="UINT8", input_shape=("batch", 8, 8, 3))
    add(models, nodes.path)
    config = read_config(models / "graph")
    assert tensors(config.input) == {"image": ("TYPE_UINT8", [8, 8, 3])}
    assert config.input[0].format == config.input[0].FORMAT_NHWC
    sample = config.model_warmup[0].inputs["image"]
    assert sample.data_type == config.input[0].data_type


def test_an_input_of_halves_is_refused_before_anything_is_written(
    models: Path, make_graph: MakeGraph
) -> None:
    path = make_graph(input_type="FLOAT16").path
    with pytest.raises(ManifestError, match=r"float16 .*expected one input 'image' float32"):
        add(models, path)
    assert not models.exists()


def test_features_are_an_output_too(models: Path, tmp_path: Path) -> None:
    made = feature_graph(tmp_path / "snow.onnx")
    add(models, made.path, name="door")
    outputs = tensors(read_config(models / "door").output)
    features = load(made.path).manifest.features
    assert features is not None
    assert outputs[features.output] == ("TYPE_FP32", [features.width])


def test_the_python_form_takes_pictures_or_the_graphs_input(models: Path, graph: Graph) -> None:
    folder = add(models, graph.path, form="python", device="cpu")
    config = read_config(models / "graph")
    assert config.backend == "python"
    assert tensors(config.input) == {
        "picture": ("TYPE_STRING", [1]),
        "image": ("TYPE_FP32", [3, 8, 8]),
    }
    assert all(each.optional for each in config.input)
    assert tensors(config.output) == {
        "food": ("TYPE_FP32", [4]),
        "birds": ("TYPE_FP32", [2]),
        "food.label": ("TYPE_STRING", [1]),
        "food.probabilities": ("TYPE_FP32", [4]),
        "birds.label": ("TYPE_STRING", [1]),
        "birds.probabilities": ("TYPE_FP32", [2]),
    }
    assert sorted(each.name for each in folder.iterdir()) == ["model.onnx", "model.py"]
    scope: dict[str, Any] = {}
    exec((folder / "model.py").read_text(), scope)  # noqa: S102 - as Triton does
    assert scope["TritonPythonModel"].__name__ == "TritonPythonModel"


def test_a_name_that_the_python_form_needs_is_refused(
    models: Path, make_graph: MakeGraph, manifest: Manifest
) -> None:
    named = replace(manifest, input=InputEntry("picture"))
    path = make_graph(manifest=named, input_name="picture").path
    with pytest.raises(GraphError, match="a tensor called 'picture'"):
        add(models, path, form="python")
    assert not models.exists()
    assert add(models, path).name == "1"


def test_weights_beside_a_graph_come_along(
    models: Path, make_graph: MakeGraph, tmp_path: Path, frame: NDArray[np.uint8]
) -> None:
    large = tmp_path / "large"
    (large / "parts").mkdir(parents=True)
    path = large / "snow.onnx"
    model = onnx.load(make_graph().path)
    how: dict[str, Any] = {"save_as_external_data": True, "size_threshold": 0}
    onnx.save_model(model, path, location="snow.weights", **how)
    folder = add(models, path)
    assert sorted(each.name for each in folder.iterdir()) == ["model.onnx", "snow.weights"]
    with load(path) as there, load(folder / "model.onnx") as copy:
        assert (copy(frame)["food"].probabilities == there(frame)["food"].probabilities).all()

    onnx.save_model(onnx.load(path), large / "other.onnx", location="model.py", **how)
    with pytest.raises(GraphError, match="keeps weights in a file called"):
        add(models, large / "other.onnx")


def test_an_engine_is_served_by_the_tensorrt_backend(models: Path, tmp_path: Path) -> None:
    folder = add(models, engine_in(tmp_path))
    config = read_config(models / "snow")
    assert (config.backend, config.max_batch_size) == ("tensorrt", 4)
    (group,) = config.instance_group
    assert group.kind == group.KIND_GPU
    assert [path.name for path in folder.iterdir()] == ["model.plan"]
    assert (folder / "model.plan").read_bytes() == PLAN
    assert list(read_config(models / "snow").parameters) == ["snow_deploy.manifest.1"]


def test_an_engine_of_one_batch_size_has_it_in_its_tensors(models: Path, tmp_path: Path) -> None:
    add(models, engine_in(tmp_path, inputs={"image": ((2, 3, 8, 8),) * 3}))
    config = read_config(models / "snow")
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [2, 3, 8, 8])


def test_an_engine_of_the_accelerator_names_its_core(models: Path, tmp_path: Path) -> None:
    options = BuildOptions("fp16", dla=1).with_batches(1, 2, 4)
    add(models, engine_in(tmp_path, options=options))
    (device,) = read_config(models / "snow").instance_group[0].secondary_devices
    assert (device.kind, device.device_id) == (device.KIND_NVDLA, 1)


def test_the_python_form_takes_any_engine_with_its_record(models: Path, tmp_path: Path) -> None:
    path = engine_in(tmp_path, backend="tensorrt-rtx", inputs={"image": ((2, 3, 8, 8),) * 3})
    folder = add(models, path, form="python")
    config = read_config(models / "snow")
    assert (config.backend, config.max_batch_size) == ("python", 8)
    (group,) = config.instance_group
    assert group.kind == group.KIND_GPU
    assert sorted(each.name for each in folder.iterdir()) == [
        "model.engine",
        "model.engine.json",
        "model.py",
    ]


@pytest.mark.parametrize(
    ("fields", "options", "said"),
    [
        ({"backend": "tensorrt-rtx"}, {}, "Triton has no backend.*--form python"),
        ({"options": BuildOptions("fp16", strip_weights=True)}, {}, "without --strip-weights"),
        (
            {"inputs": {"image": ((2, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))}},
            {},
            "takes 2 to 4 pictures a call.*--min-batch 1",
        ),
        ({}, {"max_batch": 5}, "--max-batch is 5.*at most 4"),
        ({}, {"form": "onnxruntime"}, "serves a graph"),
        ({}, {"device": "cpu"}, "--cpu contradicts"),
        ({}, {"threads": 2}, "--threads contradicts"),
    ],
)
def test_an_engine_that_triton_cannot_serve_so_is_refused(
    models: Path, tmp_path: Path, fields: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    path = engine_in(tmp_path, **fields)
    with pytest.raises((EngineError, InputError), match=said):
        add(models, path, **options)
    assert not models.exists()


def test_an_engine_without_its_record_or_of_another_is_refused(
    models: Path, tmp_path: Path
) -> None:
    path = engine_in(tmp_path)
    path.write_bytes(PLAN[:-1])
    with pytest.raises(EngineError, match="it is truncated"):
        add(models, path)
    (tmp_path / "snow.engine.json").unlink()
    with pytest.raises(EngineError, match=r"snow\.engine\.json is missing"):
        add(models, path)
    assert not models.exists()


def test_int8_beside_halves_is_refused_where_it_would_answer_wrongly(
    models: Path, make_graph: MakeGraph, manifest: Manifest
) -> None:
    quantisation = Quantisation("c" * 64, "entropy", 8, "d" * 64, "fp16", 3)
    mixed = replace(manifest, precision="int8", quantisation=quantisation)
    path = make_graph(manifest=mixed).path
    with pytest.raises(GraphError, match="--form python, or calibrate"):
        add(models, path)
    assert add(models, path, form="python").name == "1"


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".hidden", "with blank", "x" * 129, "-dash", "ä", "a\n"]
)
def test_a_name_that_triton_or_the_file_system_refuses(name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be called.*--name"):
        TritonOptions(name=name)


def test_a_file_whose_own_name_is_none_of_a_model(models: Path, make_graph: MakeGraph) -> None:
    with pytest.raises(InputError, match="cannot be called 'my graph'"):
        add(models, make_graph("my graph.onnx").path)
    assert not models.exists()


@pytest.mark.parametrize(
    "field", [{"version": 0}, {"version": 2**31}, {"max_batch": 0}, {"instances": 65}]
)
def test_numbers_out_of_range_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected a whole number"):
        TritonOptions(**field)


def test_a_graph_without_a_manifest_is_refused(models: Path, make_graph: MakeGraph) -> None:
    with pytest.raises(GraphError, match="carries no manifest"):
        add(models, make_graph(metadata=None).path)
    with pytest.raises(GraphError, match="serves an engine"):
        add(models, make_graph().path, form="tensorrt")


def test_a_model_of_somebody_else_is_left_alone(models: Path, graph: Graph) -> None:
    other = models / "graph"
    (other / "1").mkdir(parents=True)
    with pytest.raises(InputError, match=r"has no config\.pbtxt and holds 1"):
        add(models, graph.path)
    (other / "config.pbtxt").write_text('backend: "onnxruntime"\n')
    with pytest.raises(InputError, match="was not written by 'snow-deploy triton'"):
        add(models, graph.path)
    (other / "config.pbtxt").write_text('name: "graph"\nbackend: "' + "onnx" * 9000)
    with pytest.raises(InputError, match="cannot be read: line 2, column") as caught:
        add(models, graph.path)
    assert len(str(caught.value)) < 500
    (other / "config.pbtxt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is no text"):
        add(models, graph.path)
    assert [path.name for path in other.iterdir() if path.is_dir()] == ["1"]


def test_labels_are_a_line_each(models: Path, make_graph: MakeGraph, manifest: Manifest) -> None:
    odd = TaskEntry("food", "food", ("two\nlines", "a\r\ttab", "  wide  ", "\u2028"))
    path = make_graph(manifest=replace(manifest, tasks=(odd, manifest.tasks[1]))).path
    add(models, path)
    text = (models / "graph/labels/food.txt").read_text(encoding="utf-8")
    assert text.split("\n") == ["two lines", "a tab", "wide", "", ""]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(models: Path, graph: Graph) -> None:
    models.mkdir()
    models.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(InputError, match=r"cannot be written.*Choose another -o"):
        add(models, graph.path)


def test_a_disk_that_is_read_only(mount_disk: Callable[[str], Path], graph: Graph) -> None:
    disk = mount_disk("64k")
    add(disk, graph.path, name="door")
    before = tree(disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for name in ("door", "window"):
        with pytest.raises(InputError, match=rf"{name} cannot be written: .*Read-only"):
            add(disk, graph.path, name=name)
    assert tree(disk) == before


def test_a_repository_that_is_a_file(tmp_path: Path, graph: Graph) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(InputError, match=r"cannot be written.*Choose another -o"):
        add(tmp_path / "models", graph.path)


def test_a_full_disk_leaves_what_was_there(
    mount_disk: Callable[[str], Path], graph: Graph, tmp_path: Path, make_graph: MakeGraph
) -> None:
    disk = mount_disk("64k")
    add(disk, graph.path, name="door")
    before = tree(disk)
    large = onnx.load(make_graph("large.onnx").path)
    large.doc_string = "x" * 100_000
    onnx.save(large, tmp_path / "large.onnx")
    for name in ("door", "window"):
        with pytest.raises(InputError, match=r"No space left.*what was there before is untouched"):
            add(disk, tmp_path / "large.onnx", name=name)
        assert tree(disk) == before
        assert [path.name for path in disk.iterdir()] == ["door"]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("step", ["_write_labels", "_write_config"])
def test_a_failure_at_any_step_leaves_what_was_there(
    models: Path, graph: Graph, monkeypatch: pytest.MonkeyPatch, step: str, *, there: bool
) -> None:
    import snow_runtime.triton.repository as module

    if there:
        add(models, graph.path)
    before = tree(models)
    real = getattr(module, step)

    def fail(*arguments: Any) -> None:
        real(*arguments)
        message = "the cable"
        raise OSError(message)

    monkeypatch.setattr(module, step, fail)
    with pytest.raises(InputError, match="the cable"):
        add(models, graph.path)
    monkeypatch.undo()
    after = tree(models)
    after.pop("graph/config.pbtxt", None)
    before.pop("graph/config.pbtxt", None)
    assert after == before
    assert models.exists() == there
    assert add(models, graph.path).name == ("2" if there else "1")
    assert read_config(models / "graph").parameters


def test_what_a_killed_process_left_is_cleared_away(models: Path, graph: Graph) -> None:
    left = models / "graph/.0123456789abcdef.tmp"
    left.mkdir(parents=True)
    (left / "model.onnx").write_text("half")
    assert add(models, graph.path).name == "1"
    assert not left.exists()


def test_processes_that_add_at_once_get_versions_of_their_own(models: Path, graph: Graph) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(add(models, graph.path).name))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["1", "2", "3", "4"]
    assert len(read_config(models / "graph").parameters) == 4
