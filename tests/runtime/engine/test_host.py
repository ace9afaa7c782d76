from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_runtime.engine.host import Host, _driver_version, this_host
from snow_runtime.errors import ManifestError
from tests.runtime.libcuda import LibCuda

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\n", "535.183.01"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build\n",
            "560.35.03",
        ),
        ("something else", None),
    ],
)
def test_the_drivers_version(tmp_path: Path, text: str, version: str | None) -> None:
    path = tmp_path / "version"
    path.write_text(text, encoding="utf-8")

    assert _driver_version(path) == version
    assert _driver_version(tmp_path / "missing") is None


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snow_runtime.machine.driver._open", lambda _: LibCuda(("A GPU", 8, 6)))

    host, gpu = this_host()

    assert (host.gpu, host.target, host.cuda) == ("A GPU", "sm86", "12.8")
    assert gpu is not None
    assert host.platform.startswith("linux-")


def test_fields_of_other_types() -> None:
    with pytest.raises(ManifestError, match=r"host\.driver"):
        Host("linux-x86_64", driver=560)  # type: ignore[arg-type]
