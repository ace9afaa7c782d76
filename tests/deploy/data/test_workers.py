"""Loaders whose workers die, hang, or have no shared memory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image

from snow_deploy.data import workers
from snow_deploy.data.loading import Batch, make_loader
from snow_deploy.errors import DataError
from tests.conftest import copy_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.graph.manifest import Preprocessing

# Python 3.12 warns of every fork beside another thread, such as torch's own.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's own


class Odd:
    """Grey pictures, number 5 of which something befalls in the process that loads it."""

    labels = ("a", "b")

    def __init__(self, what: str = "") -> None:
        self.what = what

    def __len__(self) -> int:
        return 12

    def target(self, index: int) -> int:
        return index % 2

    def name(self, index: int) -> str:
        return f"{index}.png"

    def load(self, index: int) -> Image.Image:
        if index == 5 and self.what == "wait":
            time.sleep(1.5)
        elif index == 5 and self.what:
            os.kill(os.getpid(), signal.Signals[self.what])
        return Image.new("RGB", (20, 20), (index, index, index))


def load(preprocessing: Preprocessing, what: str = "", count: int = 1) -> Iterator[Batch]:
    options: dict[str, Any] = {"augmentation": "none", "batch_size": 3, "seed": 0}
    loader = make_loader(
        Odd(what), preprocessing=preprocessing, train=False, workers=count, **options
    )
    return iter(loader)


def is_shared(batch: Batch) -> bool:
    return bool(batch.images.is_shared())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGBUS", "SIGSEGV", "SIGTERM"])
def test_a_worker_that_is_killed_is_an_error(preprocessing: Preprocessing, name: str) -> None:
    with pytest.raises(DataError, match=r"loads pictures was ended from outside .*--workers"):
        list(load(preprocessing, name, count=2))


def test_a_worker_that_gives_nothing_is_an_error(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_LOOK_S", 0.1)
    monkeypatch.setattr(workers, "_PATIENCE_S", 0.3)
    monkeypatch.setattr(workers, "_PATIENCE_A_PICTURE_S", 0.0)
    with pytest.raises(DataError, match=r"gave nothing for \d+ s, expected a batch of 3 pictures"):
        list(load(preprocessing, "wait"))


def test_a_slow_worker_is_waited_for(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several looks pass; what was given before each counts no more."""
    monkeypatch.setattr(workers, "_LOOK_S", 0.1)
    batches = list(load(preprocessing, "wait"))
    assert [batch.indices.tolist() for batch in batches] == [
        *([0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11])
    ]


def test_a_worker_that_cannot_be_started_is_an_error(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(DataError, match=r"cannot be started: Resource .* --workers 0"):
        list(load(preprocessing))


def test_batches_come_through_shared_memory_where_it_is_large(
    preprocessing: Preprocessing, caplog: pytest.LogCaptureFixture
) -> None:
    assert all(is_shared(batch) for batch in load(preprocessing))
    assert not caplog.records


@pytest.mark.parametrize("free", [0, 17_000])
def test_batches_come_through_pipes_where_it_is_small(
    preprocessing: Preprocessing,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    free: int,
) -> None:
    """The batches are of 3 x 3 x 16 x 16 float32, 9,216 bytes: two may wait, two are in hand."""
    expected = list(load(preprocessing, count=0))
    monkeypatch.setattr(workers, "_told", [])
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(free, 0, free))

    for _ in range(2):
        batches = list(load(preprocessing))
        assert not any(is_shared(batch) for batch in batches)
        for batch, other in zip(batches, expected, strict=True):
            assert torch.equal(batch.images, other.images)
            assert torch.equal(batch.targets, other.targets)
            assert torch.equal(batch.indices, other.indices)
            batch.images.add_(1)  # as writable as any

    (record,) = caplog.records
    assert "--shm-size=1m" in record.getMessage()
    assert "--workers 0" in record.getMessage()


@pytest.mark.parametrize(
    ("count", "processes", "free", "fits"),
    [
        (1, 1, 4, True),
        (1, 1, 3, False),
        (2, 1, 6, True),
        (2, 1, 5, False),
        (2, 2, 12, True),
        (2, 2, 11, False),
        (0, 1, 0, True),
    ],
)
def test_what_may_wait_is_compared_with_what_is_free(
    monkeypatch: pytest.MonkeyPatch, count: int, processes: int, free: int, fits: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(free, 0, free * 1000))
    monkeypatch.setattr(workers, "_told", [True])
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert workers.batches_fit(1000, count) is fits


def test_a_batch_for_which_no_room_is_left_comes_through_a_pipe(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have taken the room since the loader was made."""

    def refuse(self: torch.Tensor) -> torch.Tensor:
        msg = f"unable to allocate shared memory(shm) for a tensor of {len(self)}"
        raise RuntimeError(msg)

    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)
    assert [len(batch.images) for batch in load(preprocessing)] == [3, 3, 3, 3]


SMALL = """
import shutil, sys
from snow_deploy.cli import main
assert shutil.disk_usage("/dev/shm").total == 1 << 20
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_training_where_shared_memory_is_small(tmp_path: Any, trained_store: Any) -> None:
    """With a real /dev/shm of 1 MB, where this process may mount one."""
    unshare = ["unshare", "--mount", "sh", "-c"]
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("only Linux has mount namespaces")
    if subprocess.run([*unshare, mount], check=False, capture_output=True).returncode:
        pytest.skip("a mount needs privileges that are not here")
    copy_store(trained_store, tmp_path / "store")
    train = ["train", "--task", "new", "--data", "demo:shape?train=64&test=32&size=96"]
    sizes = ["--image-size", "96", "--batch-size", "32", "--epochs", "1", "--no-baseline"]
    rest = ["--store", str(tmp_path / "store"), "--precision", "fp32", "--workers", "2"]
    completed = subprocess.run(
        [
            *unshare,
            f'{mount} && exec "$0" "$@"',
            sys.executable,
            "-c",
            SMALL,
            *train,
            *sizes,
            *rest,
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert completed.returncode == 0, completed.stderr
    assert "Shared memory (/dev/shm) has 0 MB free, and batches by --workers 2" in completed.stderr
    assert "-> " in completed.stdout.splitlines()[-1]
