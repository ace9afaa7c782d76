from __future__ import annotations

from typing import Any

import pytest

from snow_runtime.machine.driver import Driver, DriverDoesNotStartError, Gpu, ask_driver, gpu_here
from tests.runtime.libcuda import LibCuda


def test_two_gpus() -> None:
    library = LibCuda(("NVIDIA GeForce RTX 3090", 8, 6), ("NVIDIA H100", 9, 0), version=12060)

    driver = ask_driver(lambda _: library)

    assert driver == Driver(
        "12.6",
        (
            Gpu(0, "NVIDIA GeForce RTX 3090", (8, 6), 8 << 30),
            Gpu(1, "NVIDIA H100", (9, 0), 8 << 30),
        ),
    )
    assert [gpu.target for gpu in driver.gpus] == ["sm86", "sm90"]


def test_a_gpu_that_shares_the_machines_memory() -> None:
    library = LibCuda(("Orin", 8, 7), memory_bytes=7 << 30, integrated=True)

    assert ask_driver(lambda _: library).gpus == (Gpu(0, "Orin", (8, 7), 7 << 30, integrated=True),)


def test_a_driver_that_does_not_start() -> None:
    with pytest.raises(DriverDoesNotStartError, match="cuInit gives error 803") as caught:
        ask_driver(lambda _: LibCuda(status=803))
    assert caught.value.status == 803


def test_no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr("snow_runtime.machine.driver._open", none)

    assert gpu_here() is None
