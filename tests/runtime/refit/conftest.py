"""A model at work with a collection beside it, of one question with its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_runtime.model import load
from snow_runtime.swap import SwappableModel
from tests.runtime.readout.graphs import feature_graph
from tests.runtime.refit.boxes import open_box

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.collection.collection import Collection


@pytest.fixture
def model(tmp_path: Path) -> Iterator[SwappableModel]:
    path = feature_graph(tmp_path / "graph.onnx").path
    with SwappableModel(load(path, ["CPUExecutionProvider"], 1)) as model:
        yield model


@pytest.fixture
def box(tmp_path: Path, model: SwappableModel) -> Iterator[Collection]:
    with open_box(tmp_path / "kept", model) as collection:
        yield collection
