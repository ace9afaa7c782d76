"""A request for a real graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import onnx

    from snow_deploy.models.source import Source
    from snow_export.export import ExportRequest


@pytest.fixture(scope="session")
def request_18(source: Source) -> ExportRequest:
    """Ask for three small tasks on a ResNet-18; a test must not change it."""
    from snow_deploy.models.options import DeltaOptions
    from tests.export.requests import request_of

    return request_of(source, DeltaOptions())


@pytest.fixture(scope="session")
def graph_18(request_18: ExportRequest) -> onnx.ModelProto:
    """Give the graph that `request_18` asks for; a test must not change it."""
    from snow_export.export import build_graph

    return build_graph(request_18)
