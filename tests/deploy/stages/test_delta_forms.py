"""From a store to a graph, and what both tell, for deltas of other forms than the paper's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.models.multiply_adds import network_macs
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_deploy.stages.export import export_tasks, verify_graph
from snow_deploy.stages.inspect_store import inspect_store
from snow_deploy.training.options import TrainOptions, recipe_for
from snow_deploy.training.store import Store
from snow_deploy.training.task_record import TaskRecord
from snow_runtime.graph.manifest import Manifest, Preprocessing
from snow_runtime.graph.onnx_file import read_graph
from tests.export.requests import random_delta

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.weights import SourceWeights

SIZE = 64
FORMS = {
    "late": DeltaOptions(blocks=1, from_stage=3, classifier_reads="taps"),
    "late2": DeltaOptions(blocks=1, from_stage=3, classifier_reads="taps"),
    "whole": DeltaOptions(),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, weights: SourceWeights) -> Store:
    """Give a task of each form, as mixed as after training."""
    store = Store(tmp_path_factory.mktemp("forms") / "store")
    store.put_source(weights)
    source = Source(weights)
    for seed, (name, form) in enumerate(FORMS.items()):
        labels = tuple("abcde"[: 3 + seed])
        network = random_delta(source, len(labels), seed, form)
        store.save_task(
            TaskRecord(
                name=name,
                labels=labels,
                state={key: value.clone() for key, value in network.state_dict().items()},
                source_sha256=source.fingerprint,
                preprocessing=Preprocessing.for_size(SIZE),
                options=TrainOptions(image_size=SIZE, delta=form, recipe=recipe_for("steady")),
                samples=torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8),
            )
        )
    return store


@pytest.fixture(scope="module")
def graph(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("forms") / "snow.onnx"
    export_tasks(store, None, path)
    return path


def manifest_of(path: Path) -> Manifest:
    manifest = read_graph(path).manifest
    assert manifest is not None
    return manifest


@pytest.mark.slow
def test_a_graph_says_of_which_form_its_tasks_are(store: Store, graph: Path) -> None:
    manifest = manifest_of(graph)

    source = Source(store.source_weights())
    for name, form in FORMS.items():
        entry = manifest.task(name)
        network = store.load_task(name).build(source)
        assert (entry.blocks, entry.from_stage) == (form.blocks, form.from_stage)
        assert entry.selections == network.selections()
        assert entry.tap_selections == network.tap_selections()
    chosen = manifest.task("late").tap_selections
    assert sum(map(len, chosen.values())) == 40
    assert set(chosen) <= {tap.name for tap in source.anatomy.taps}
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert text.count('"blocks"') == text.count('"tap_selections"') == 2  # none of the paper's form


@pytest.mark.slow
def test_it_is_verified_against_the_store(store: Store, graph: Path) -> None:
    found = verify_graph(store, graph, batches=(2,))

    assert found.holds


def test_a_store_counts_what_is_there(store: Store) -> None:
    found = inspect_store(store.root)

    source = Source(store.source_weights())
    shares = {share.owner: share for share in found.shares}
    for name in FORMS:
        network = store.load_task(name).build(source)
        assert shares[name].parameters == network.count_parameters()
        assert shares[name].macs == network_macs(source, network, SIZE)
    by_name = {task.name: task for task in found.tasks}
    assert by_name["late"].tap_selections == network_taps(store, source, "late")
    assert (by_name["late"].blocks, by_name["late"].from_stage) == (1, 3)


def network_taps(store: Store, source: Source, name: str) -> dict[str, tuple[int, ...]]:
    return store.load_task(name).build(source).tap_selections()


@pytest.mark.parametrize("kind", ["store", "graph"])
def test_inspect_says_it_in_words(store: Store, graph: Path, kind: str) -> None:
    path = store.root if kind == "store" else graph

    output = CliRunner().invoke(main, ["inspect", str(path)]).stdout

    late, whole = output[output.index("task late") :], output[output.index("task whole") :]
    for expected in ("classifier  reads 40 features", "blocks  1 of each stage", "stage 3"):
        assert expected in late
        assert expected not in whole
