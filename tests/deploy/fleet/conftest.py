"""A publication with one release, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.fleet.publications import Publisher

for name in ("tuf", "cyclonedx", "cryptography", "onnxruntime"):
    pytest.importorskip(name, reason="the extra `publish` is not installed")


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
