from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from snow_deploy.errors import StoreError
from snow_deploy.models.source import Source
from snow_deploy.stages.export import export_source, export_tasks, gather
from snow_deploy.training.store import Store
from snow_export.errors import ExportError, ParityError
from snow_export.export import GraphOptions
from snow_runtime.errors import SnowError
from snow_runtime.graph.manifest import METADATA_KEY, Layout, Manifest, Preprocessing
from snow_runtime.model import load
from tests.conftest import copy_store

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_deploy.models.weights import SourceWeights
    from tests.conftest import RandomNetwork

LAYOUTS: tuple[Layout, ...] = get_args(Layout)
TASKS = ("shape", "digit")


@pytest.fixture
def store(tmp_path: Path, trained_store: Store) -> Store:
    """Give a copy of the trained store to change."""
    return copy_store(trained_store, tmp_path / "store")


@pytest.fixture(
    scope="module",
    params=[
        "fused",
        *(pytest.param(each, marks=pytest.mark.slow) for each in LAYOUTS if each != "fused"),
    ],
)
def layout(request: pytest.FixtureRequest) -> Layout:
    chosen: Layout = request.param
    return chosen


@pytest.fixture(scope="module")
def both(layout: Layout, trained_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export both tasks and the source's own head."""
    path = tmp_path_factory.mktemp("both") / "snow.onnx"
    export_tasks(trained_store, TASKS, path, with_source=True, options=GraphOptions(layout))
    return path


def pictures(count: int, size: int = 64) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(size=(count, 3, size, size)).astype(np.float32)


def run(path: Path, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Run the file in ONNX Runtime itself."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {image.name: images}), strict=True))


def manifest_of(path: Path) -> Manifest:
    properties = {item.key: item.value for item in onnx.load(path).metadata_props}
    return Manifest.from_json(properties[METADATA_KEY])


def assert_close(seen: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(seen, expected, atol=1e-4 * max(1, np.abs(expected).max()))


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_input_with_a_dynamic_batch_and_one_output_a_task(both: Path) -> None:
    graph = onnx.load(both).graph

    def shape(value: onnx.ValueInfoProto) -> list[int | str]:
        dims = value.type.tensor_type.shape.dim
        return [dim.dim_param or dim.dim_value for dim in dims]

    assert [value.name for value in graph.input] == ["image"]
    batch, *rest = shape(graph.input[0])
    assert isinstance(batch, str)
    assert rest == [3, 64, 64]
    classes = {"source": 7, "shape": 6, "digit": 10}
    assert [(value.name, shape(value)) for value in graph.output] == [
        (name, [batch, count]) for name, count in classes.items()
    ]
    elements = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert elements == {onnx.TensorProto.FLOAT}


def test_the_file_is_valid_and_chooses_and_draws_nothing(both: Path) -> None:
    model = onnx.load(both)
    onnx.checker.check_model(model, full_check=True)

    operators = {node.op_type for node in model.graph.node}
    assert "Gather" in operators
    assert not any(
        name in {"TopK", "Sort", "Dropout", "Multinomial", "Bernoulli"} or "Random" in name
        for name in operators
    )
    assert all(node.domain in {"", "ai.onnx"} for node in model.graph.node)


def test_nothing_of_this_machine_is_in_the_file(both: Path, tmp_path: Path) -> None:
    content = both.read_bytes()

    for trace in (b"site-packages", str(tmp_path.parents[1]).encode(), b"stack_trace", b".py"):
        assert trace not in content


@pytest.mark.parametrize("count", [1, 3, 7])
def test_it_answers_as_torch_does(both: Path, trained_store: Store, count: int) -> None:
    images = pictures(count)
    source = Source(trained_store.source_weights())
    with torch.no_grad():
        features = source(torch.from_numpy(images))
        for task in TASKS:
            delta = trained_store.load_task(task).build(source)
            expected = delta(torch.from_numpy(images), features).numpy()
            seen = run(both, images)[task]
            assert seen.shape == expected.shape == (count, expected.shape[1])
            assert_close(seen, expected)


def test_the_sources_head_is_torchvisions(
    both: Path, random_network: RandomNetwork, weights: SourceWeights
) -> None:
    images = pictures(3)
    with torch.no_grad():
        expected = random_network("resnet18")(torch.from_numpy(images)).numpy()

    assert_close(run(both, images)["source"], expected)
    assert manifest_of(both).task("source").labels == weights.labels


def test_each_task_answers_as_it_does_alone(
    both: Path, layout: Layout, trained_store: Store, tmp_path: Path
) -> None:
    images = pictures(4)
    together = run(both, images)

    for task in TASKS:
        alone = tmp_path / f"{task}.onnx"
        export_tasks(trained_store, [task], alone, options=GraphOptions(layout))
        answers = run(alone, images)
        assert list(answers) == [task]
        assert_close(together[task], answers[task])


def test_a_picture_answers_as_it_does_in_a_batch(both: Path) -> None:
    images = pictures(5)
    batch = run(both, images)

    for number in range(5):
        alone = run(both, images[number : number + 1])
        for task, logits in alone.items():
            assert_close(logits[0], batch[task][number])


def gathered(path: Path) -> list[tuple[int, ...]]:
    """Return the constant indices of every Gather along the channels."""
    graph = onnx.load(path).graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type == "Gather":
            (axis,) = (item.i for item in node.attribute if item.name == "axis")
            assert axis == 1
            found.append(tuple(int(index) for index in constants[node.input[1]]))
    return found


def test_the_manifests_selections_are_what_the_graph_gathers(
    both: Path, layout: Layout, trained_store: Store
) -> None:
    manifest = manifest_of(both)
    source = Source(trained_store.source_weights())
    chosen = {}
    for task in TASKS:
        pooling_weights = trained_store.load_task(task).state
        chosen[task] = {
            item.name: tuple(
                np.sort(
                    np.argsort(
                        -pooling_weights[f"network.pooling.{item.name}.weight"].numpy(),
                        kind="stable",
                    )[: item.channels // 8]
                ).tolist()
            )
            for item in source.anatomy.subscriptions
        }

    assert {task: manifest.task(task).selections for task in TASKS} == chosen
    assert manifest.task("source").selections == {}
    # The graph gathers the same channels, each at its place.
    orders = {
        task: {
            name: pooling.order()
            for name, pooling in trained_store.load_task(task).build(source).poolings().items()
        }
        for task in TASKS
    }
    for task in TASKS:
        ascending = {name: tuple(sorted(order)) for name, order in orders[task].items()}
        assert ascending == chosen[task]
    separate = [order for task in TASKS for order in orders[task].values()]
    fused = [
        tuple(itertools.chain.from_iterable(orders[task][item.name] for task in TASKS))
        for item in source.anatomy.subscriptions
    ]
    expected = separate if layout == "separate" else fused
    assert sorted(gathered(both)) == sorted(expected)


def test_the_manifest_says_what_the_store_does(
    both: Path, layout: Layout, trained_store: Store
) -> None:
    manifest = manifest_of(both)
    weights = trained_store.source_weights()

    assert manifest.layout == layout
    assert manifest.precision == "fp32"
    assert manifest.source.architecture == "resnet18"
    assert manifest.source.sha256 == weights.fingerprint()
    assert manifest.source.parameters == sum(p.numel() for p in weights.build().parameters())
    assert [task.name for task in manifest.tasks] == ["source", *TASKS]
    for task in TASKS:
        record, entry = trained_store.load_task(task), manifest.task(task)
        assert entry.labels == record.labels
        assert entry.sha256 == record.fingerprint()
        assert (entry.k_divisor, entry.width_divisor) == (8, 8)
        assert entry.metrics == pytest.approx(record.metrics)
        assert manifest.preprocessing == record.preprocessing
    assert {"snow_deploy", "torch", "onnx"} <= set(manifest.versions)


def test_the_runtime_can_load_it(both: Path, trained_store: Store) -> None:
    labels = trained_store.load_task("shape").labels
    picture = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)

    with load(both) as model:
        result = model(picture)

    assert list(result) == ["source", *TASKS]
    assert result["shape"].label in labels


def test_the_same_store_gives_the_same_bytes(
    both: Path, layout: Layout, trained_store: Store, tmp_path: Path
) -> None:
    again = tmp_path / "again.onnx"
    export_tasks(trained_store, TASKS, again, with_source=True, options=GraphOptions(layout))

    assert again.read_bytes() == both.read_bytes()


def test_what_it_returns(trained_store: Store, tmp_path: Path) -> None:
    found = export_tasks(trained_store, TASKS, tmp_path / "new" / "folder" / "snow.onnx")

    assert [parity.task for parity in found] == list(TASKS)
    assert all(0 <= parity.relative_error < 1e-4 for parity in found)
    assert all(parity.same_top1 == 1 for parity in found)
    assert files_in(tmp_path / "new" / "folder") == ["snow.onnx"]


def test_without_names_all_tasks_by_name(trained_store: Store) -> None:
    request = gather(trained_store, None)

    assert [task.name for task in request.tasks] == list(request.networks) == ["digit", "shape"]


def test_the_source_alone(
    trained_store: Store, tmp_path: Path, random_network: RandomNetwork
) -> None:
    path = tmp_path / "source.onnx"
    export_source(trained_store, path)

    images = pictures(3)
    with torch.no_grad():
        expected = random_network("resnet18")(torch.from_numpy(images)).numpy()
    answers = run(path, images)
    assert list(answers) == ["source"]
    assert_close(answers["source"], expected)
    assert not gathered(path)


def test_the_parity_pictures_are_the_tasks_held_out_samples(trained_store: Store) -> None:
    request = gather(trained_store, TASKS)

    samples = [trained_store.load_task(task).samples.numpy() for task in TASKS]
    np.testing.assert_array_equal(request.pictures, np.concatenate(samples))
    mean, std = (np.array(v) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = ((request.pictures / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(request.images(request.pictures), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["shape", "digit", "shape"], "shape is named twice; name each task once"),
        ([], r"there is no task to export \(store .* has: digit, shape\)"),
        (["shape", ""], "an empty name is among the tasks"),
        (["shape", "cars"], r"has no task 'cars' \(it has: digit, shape\)"),
        (["Shape"], "A task cannot be called 'Shape'"),
    ],
)
def test_names_that_cannot_be_exported(
    trained_store: Store, tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(SnowError, match=message):
        export_tasks(trained_store, names, tmp_path / "snow.onnx")

    assert files_in(tmp_path) == []


def test_a_store_with_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no task to export \(store .* has: none\)"):
        export_tasks(Store(tmp_path / "store"), None, tmp_path / "snow.onnx")


def test_tasks_of_different_image_sizes(store: Store, tmp_path: Path) -> None:
    record = store.load_task("digit")
    store.save_task(replace(record, preprocessing=Preprocessing.for_size(96)))

    with pytest.raises(
        StoreError, match="'shape' and 'digit' were trained at 64 and 96 pixels; one graph has one"
    ):
        export_tasks(store, TASKS, tmp_path / "snow.onnx")
    assert not (tmp_path / "snow.onnx").exists()


def change_state(store: Store, task: str, change: Any) -> None:
    """Store a task anew with other tensors, its hash right."""
    record = store.load_task(task)
    state = {key: value.clone() for key, value in record.state.items()}
    change(state)
    store.save_task(replace(record, state=state))


def test_a_delta_that_answers_with_nan_is_not_exported(store: Store, tmp_path: Path) -> None:
    def poison(state: dict[str, torch.Tensor]) -> None:
        state["network.fc.bias"][0] = float("nan")

    change_state(store, "shape", poison)
    folder = tmp_path / "out"

    with pytest.raises(ParityError, match="task 'shape' answers with infinity or NaN"):
        export_tasks(store, TASKS, folder / "snow.onnx")
    assert files_in(folder) == []


def test_a_failed_export_keeps_the_old_file(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out" / "snow.onnx"
    path.parent.mkdir()
    path.write_bytes(b"an earlier graph")

    def poison(state: dict[str, torch.Tensor]) -> None:
        state["network.conv1.weight"][:] = float("inf")

    change_state(store, "shape", poison)
    with pytest.raises(ParityError):
        export_tasks(store, ["shape"], path)

    assert path.read_bytes() == b"an earlier graph"
    assert files_in(path.parent) == ["snow.onnx"]


def test_a_delta_of_another_source_is_not_exported(store: Store, tmp_path: Path) -> None:
    store.save_task(replace(store.load_task("shape"), source_sha256="ab" * 32))

    with pytest.raises(StoreError, match="'shape' was trained on the source abababababab"):
        export_tasks(store, TASKS, tmp_path / "snow.onnx")


def test_an_output_that_cannot_be_written(trained_store: Store, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("where a folder should be")
    (tmp_path / "folder").mkdir()

    for path in (blocker / "snow.onnx", tmp_path / "folder"):
        with pytest.raises(ExportError, match=r"cannot be written: .*Choose another -o"):
            export_tasks(trained_store, ["shape"], path)
    assert files_in(tmp_path) == ["file", "folder"]
