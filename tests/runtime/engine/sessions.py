"""A session on the stand-ins, and the plain arithmetic that it has to agree with."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime.engine.session import EngineSession
from tests.runtime.engine.fake_cuda import FakeDriver
from tests.runtime.engine.fake_engine import TENSORRT, FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from snow_runtime.graph.manifest import Manifest


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    fake = FakeDriver()
    fake.install(monkeypatch)
    yield fake
    gc.collect()
    fake.check()
    assert fake.live() == {}


@pytest.fixture
def engine(driver: FakeDriver, manifest: Manifest) -> FakeEngine:
    return FakeEngine(driver, manifest)


@pytest.fixture
def session(engine: FakeEngine, manifest: Manifest) -> Iterator[EngineSession]:
    session = EngineSession(engine, manifest, TENSORRT)
    yield session
    session.close()


def batch_of(count: int, seed: int | None = None) -> NDArray[np.float32]:
    rng = np.random.default_rng(count if seed is None else seed)
    return rng.normal(size=(count, 3, 8, 8)).astype(np.float32)


def check(
    engine: FakeEngine,
    logits: dict[str, NDArray[np.float32]],
    batch: NDArray[Any],
    tolerance: float = 1e-5,
) -> None:
    """Compare with the plain arithmetic, in float64."""
    assert list(logits) == ["food", "birds"]
    for name, values in logits.items():
        assert values.dtype == np.float32
        colours = np.stack([picture.reshape(3, -1).mean(axis=1) for picture in batch])
        expected = colours.astype(np.float64) @ engine.weights[name] + engine.biases[name]
        np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)
