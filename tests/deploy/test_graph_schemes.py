"""Graphs of tasks of every scheme, and of mixed ones, in ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.schemes import build_network
from snow_deploy.models.source import Source
from snow_deploy.stages.export import export_tasks
from snow_deploy.stages.inspect_store import inspect_store
from snow_deploy.training.options import TrainOptions
from snow_deploy.training.store import Store
from snow_deploy.training.task_record import TaskRecord
from snow_export.export import GraphOptions
from snow_runtime.graph.manifest import Preprocessing
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.weights import SourceWeights
    from snow_runtime.graph.manifest import TaskEntry

SIZE = 64
KINDS: dict[str, dict[str, Any]] = {
    **{scheme: {"scheme": scheme} for scheme in ("snow", "fo", "fe", "ft", "mp", "pn", "lf")},
    **{
        name: {"delta": DeltaOptions(subscription=name)} for name in ("conv1x1", "attention", "all")
    },
    "clean": {"delta": DeltaOptions(pooling_weights="clean")},
    "descending": {"delta": DeltaOptions(pooling_order="descending")},
    "printed": {
        "delta": DeltaOptions(
            pooling_norm="after", pooling_weights="clean", pooling_order="descending"
        )
    },
}
WHOLE = ("ft", "mp", "lf")
TWICE = ("snow", "fo")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, weights: SourceWeights) -> Store:
    """Give a task of every kind, two of some, with statistics as mixed as after training."""
    store = Store(tmp_path_factory.mktemp("schemes") / "store")
    store.put_source(weights)
    source = Source(weights)
    torch.manual_seed(0)
    for kind, form in KINDS.items():
        for number, name in enumerate((kind, f"{kind}2") if kind in TWICE else (kind,)):
            options = TrainOptions(image_size=SIZE, **form)
            labels = tuple("abcde"[: 4 + number])
            network = build_network(source, len(labels), options)
            images = torch.randn(4, 3, SIZE, SIZE)
            with torch.no_grad():
                for pooling in network.poolings().values():  # as they are after training
                    pooling.weight.uniform_(0.2, 1.8)
                network(images, source(images))  # moves the statistics of the norms
            store.save_task(
                TaskRecord(
                    name=name,
                    labels=labels,
                    state={key: value.clone() for key, value in network.state_dict().items()},
                    source_sha256=source.fingerprint,
                    preprocessing=Preprocessing.for_size(SIZE),
                    options=options,
                    samples=torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8),
                )
            )
    return store


def owners(path: Path) -> set[str]:
    return {node.name.partition("/")[0] for node in onnx.load(path).graph.node}


def answers(path: Path, images: torch.Tensor) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": images.numpy()}), strict=True))


def entries(path: Path) -> dict[str, TaskEntry]:
    manifest = read_graph(path).manifest
    assert manifest is not None
    return {task.name: task for task in manifest.tasks}


@pytest.mark.parametrize(
    "tasks",
    [
        ("fo", "fo2", "fe"),
        *(
            pytest.param(tasks, marks=pytest.mark.slow)
            for tasks in (WHOLE, ("snow", "snow2"), ("pn", "conv1x1"), ("attention", "all"))
        ),
        ("snow", "clean", "descending", "printed"),
    ],
    ids="+".join,
)
def test_they_answer_as_in_torch(store: Store, tmp_path: Path, tasks: tuple[str, ...]) -> None:
    path = tmp_path / "snow.onnx"

    export_tasks(store, tasks, path)

    source = Source(store.source_weights())
    images = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    seen = answers(path, images)
    for task in tasks:
        network = store.load_task(task).build(source)
        with torch.no_grad():
            expected = network(images, source(images)).numpy()
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(seen[task], expected, atol=1e-4 * scale)
    assert ("source" in owners(path)) == (tasks != WHOLE)


def test_tasks_of_all_schemes_share_a_graph(store: Store, tmp_path: Path) -> None:
    tasks = ("snow", "mp", "fo", "snow2", "fo2")
    path = tmp_path / "snow.onnx"

    found = export_tasks(store, tasks, path, options=GraphOptions("fused"))

    assert [parity.task for parity in found] == list(tasks)
    whose = owners(path)
    assert {"source", "snow+snow2", "fo+fo2", "mp"} <= whose
    assert not {"snow", "fo"} & whose
    known = entries(path)
    assert [known[task].scheme for task in tasks] == ["snow", "mp", "fo", "snow", "fo"]
    assert known["snow"].selections
    assert (known["snow"].k_divisor, known["snow"].width_divisor) == (8, 8)
    assert not known["mp"].selections
    assert (known["mp"].k_divisor, known["mp"].width_divisor) == (None, None)


def test_a_store_tells_what_each_task_costs(store: Store, tmp_path: Path) -> None:
    few = Store(tmp_path / "few")
    few.put_source(store.source_weights())
    for name in ("conv1x1", "fo", "mp", "pn", "snow"):
        few.save_task(store.load_task(name))

    found = inspect_store(few.root)

    source = Source(store.source_weights())
    shares = {share.owner: share for share in found.shares}
    assert found.notes == ()
    for name in few.tasks():
        network = store.load_task(name).build(source)
        assert shares[name].parameters == network.count_parameters(), name
    of_source, of_patch = shares["source"].macs, shares["mp"].macs
    assert of_source is not None
    assert of_patch == of_source - (7 - 4) * 512  # the classifier has fewer rows
    assert shares["fo"].macs == 512 * 4
    by_name = {task.name: task for task in found.tasks}
    assert by_name["pn"].scheme == "pn"
    assert not by_name["conv1x1"].selections
    assert by_name["snow"].selections == store.load_task("snow").build(source).selections()


def test_tasks_from_before_there_were_schemes_are_snows(store: Store) -> None:
    values = store.load_task("snow").options.to_dict()
    del values["scheme"], values["after"], values["delta"]["subscription"]
    del values["delta"]["pooling_weights"], values["delta"]["pooling_order"]

    old = TrainOptions.from_dict(values)

    assert old == store.load_task("snow").options
    assert (old.scheme, old.after, old.delta.subscription) == ("snow", None, "pooling")
    assert (old.delta.pooling_weights, old.delta.pooling_order) == ("noisy", "places")
