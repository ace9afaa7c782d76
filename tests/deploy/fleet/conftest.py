"""A publication with one release, made once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.fleet.publications import Publisher

for name in ("tuf", "cyclonedx", "cryptography", "onnxruntime"):
    pytest.importorskip(name, reason="the extra `publish` is not installed")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed loses nothing of what it wrote; only a power cut would."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="package")
def published(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """Give a publication with the release `r1`; tests take copies."""
    from tests.deploy.fleet.publications import Publisher

    publisher = Publisher(tmp_path_factory.mktemp("published") / "publisher").create()
    publisher.release("r1", 1)
    return publisher


@pytest.fixture
def publisher(published: Publisher, tmp_path: Path) -> Publisher:
    return published.copy(tmp_path / "publisher")
