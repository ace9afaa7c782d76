from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_runtime.machine.cpu import cpu_clocks_mhz, cpu_model

if TYPE_CHECKING:
    from pathlib import Path

X86 = """processor\t: 0
model name\t: Some CPU @ 3 GHz
cpu MHz\t\t: 2445.4
flags\t\t: fpu

processor\t: 1
model name\t: Some CPU @ 3 GHz
cpu MHz\t\t: 1200.0
"""
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nmodel name\t:\nCPU part\t: 0xd42\n"


@pytest.mark.parametrize(
    ("text", "model", "clocks"),
    [(X86, "Some CPU @ 3 GHz", [2445.4, 1200.0]), (ARM, None, []), (None, None, [])],
)
def test_the_kernel_tells_of_the_processor(
    tmp_path: Path, text: str | None, model: str | None, clocks: list[float]
) -> None:
    if text is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(text)

    assert cpu_model(tmp_path) == model
    assert cpu_clocks_mhz(tmp_path) == clocks
