"""A release whose engine each box builds: over a stand-in of TensorRT, through the real trial."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from snow_runtime.errors import SnowError
from snow_runtime.update.errors import RejectedError
from snow_runtime.update.trial import measure_release
from tests.deploy.fleet.publications import agent_of, present, settle
from tests.runtime.engine.conftest import _own_cache, graph, install  # noqa: F401 - fixtures
from tests.runtime.engine.test_loading import Session

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from snow_runtime.update.release import Release
    from tests.deploy.fleet.publications import Publisher
    from tests.runtime.engine.conftest import Install


def try_here(folder: Path, release: Release) -> None:
    """Do what the process of a trial does, in this one: the stand-in is here."""
    try:
        measure_release(folder, release)
    except SnowError as error:
        raise RejectedError(str(error)) from error


def test_a_box_builds_its_engine(
    publisher: Publisher,
    tmp_path: Path,
    graph: Path,  # noqa: F811
    install: Install,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("snow_runtime.engine.session.EngineSession", Session)
    install("tensorrt-10.3")
    publisher.release("r2", graph=graph, engine="fp16")
    box = tmp_path / "box"
    agent = agent_of(box, publisher.place, publisher, try_out=try_here)
    assert settle(agent) == "settled", agent.error
    assert present(box) == "r2"
    record = box / "current" / "snow.engine.json"
    assert json.loads(record.read_text(encoding="utf-8"))["version"].startswith("10.3")

    install("tensorrt-10.3", fails_to_build="the device is too small")
    publisher.release("r3", graph=graph, engine="fp32")
    assert agent.step() == "failed"
    assert "too small" in agent.state.failed.popitem()[1]
    assert present(box) == "r2"

    # TensorRT was replaced since: the engine is built anew, rather than the release refused.
    install("tensorrt-10.16")
    release = agent._succession.present
    assert release is not None
    measure_release((box / "current").resolve(), release)
    assert json.loads(record.read_text(encoding="utf-8"))["version"].startswith("10.16")
