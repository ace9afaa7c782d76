from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_runtime.engine.build_memory import MIB, BuildMemory, read_build_memory, workspace
from snow_runtime.machine.driver import Gpu

if TYPE_CHECKING:
    from pathlib import Path

ORIN = Gpu(0, "Orin", (8, 7), 8 << 30, integrated=True)
CARD = Gpu(0, "NVIDIA GeForce RTX 3090", (8, 6), 24 << 30)
PLENTY = BuildMemory(6000 * MIB, 4000 * MIB)


def machine(root: Path, limit: str | None = None, used: int = 0) -> Path:
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(
        "MemTotal:       8000000 kB\nMemAvailable:   4194304 kB\n"
        "SwapFree:        1048576 kB\nHugePages_Total:       0\n",
        encoding="ascii",
    )
    if limit is not None:
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "sys/fs/cgroup/memory.max").write_text(f"{limit}\n", encoding="ascii")
        (root / "sys/fs/cgroup/memory.current").write_text(f"{used}\n", encoding="ascii")
    return root


@pytest.mark.parametrize(
    ("limit", "used", "available"),
    [(None, 0, 4096), ("max", 0, 4096), (str(2048 * MIB), 1024 * MIB, 1024), ("5", 10, 0)],
)
def test_a_containers_limit_counts(
    tmp_path: Path, limit: str | None, used: int, available: int
) -> None:
    found = read_build_memory(machine(tmp_path, limit, used))

    assert found == BuildMemory(available * MIB, 1024 * MIB)


def test_a_containers_file_cache_is_free(tmp_path: Path) -> None:
    root = machine(tmp_path, str(2048 * MIB), 2040 * MIB)
    stat = f"anon 5\ninactive_file {1000 * MIB}\nactive_file 7\n"
    (root / "sys/fs/cgroup/memory.stat").write_text(stat, encoding="ascii")

    assert read_build_memory(root) == BuildMemory(1008 * MIB, 1024 * MIB)


def test_a_workspace_is_never_too_small_to_build_at_all() -> None:
    limit, _ = workspace(None, ORIN, BuildMemory(MIB, 4000 * MIB))

    assert limit == 64 * MIB


def test_a_system_without_proc(tmp_path: Path) -> None:
    assert read_build_memory(tmp_path) is None


def test_this_machine() -> None:
    found = read_build_memory()

    assert found is None or found.available_bytes > MIB


def test_a_jetson_gives_half_of_what_is_free() -> None:
    assert workspace(None, ORIN, PLENTY) == (3000 * MIB, [])
    assert workspace(1000 * MIB, ORIN, PLENTY) == (1000 * MIB, [])
    limit, (notice,) = workspace(4000 * MIB, ORIN, PLENTY)
    assert limit == 3000 * MIB
    assert "--workspace 4000 is more than there is: 3000 MiB are used" in notice


def test_a_card_gives_what_is_asked_up_to_its_memory() -> None:
    assert workspace(None, CARD, PLENTY) == (None, [])
    limit, notices = workspace(30 << 30, CARD, PLENTY)
    assert limit == 24 << 30
    assert len(notices) == 1


def test_without_a_gpu_there_is_nothing_to_cap() -> None:
    assert workspace(4000 * MIB, None, PLENTY) == (4000 * MIB, [])
    assert workspace(None, None, None) == (None, [])


def test_little_memory_is_said_before_the_build() -> None:
    _, (killed,) = workspace(None, None, BuildMemory(500 * MIB, 0))
    assert "Only 500 MiB of memory and 0 MiB of swap are free: the system may kill" in killed
    _, (slow,) = workspace(None, None, BuildMemory(500 * MIB, 4000 * MIB))
    assert "the build will swap" in slow
