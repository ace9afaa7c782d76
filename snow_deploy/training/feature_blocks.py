"""Blocks of a feature cache: rows of half floats in a file, and which pictures they are of.

A block is two files: `NAME.npy`, float16 [M, F], which is mapped into memory, and `NAME.json`,
which names the pictures and has the rows' SHA-256. It counts from when the second one is there, and
is never changed afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_deploy.errors import StoreError
from snow_runtime.files import atomic_write, sha256_file, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


_STRAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class FeatureBlock:
    """A block that has passed its checks.

    Attributes:
        keys: The picture of each row.
        rows: float16 [M, F], mapped from the file.
    """

    keys: tuple[str, ...]
    rows: NDArray[np.float16]


def write_block(folder: Path, keys: Sequence[str], rows: NDArray[np.float16]) -> None:
    """Add a block to a folder.

    Raises:
        StoreError: It cannot be written; the blocks that are there are as they were.
    """
    _remove_strays(folder)
    name = secrets.token_hex(8)
    path = folder / f"{name}.npy"
    with writing(path, StoreError, "Free space or access; nothing else was changed."):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.save(file, rows, allow_pickle=False)
        facts = {
            "keys": list(keys),
            "sha256": sha256_file(path),
        }
        content = json.dumps({**facts, "facts_sha256": _hash(facts)})
        try:
            with atomic_write(path.with_suffix(".json"), "w") as file:
                file.write(content)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _remove_strays(folder: Path) -> None:
    """Remove what a killed run has left half-written; what is new may be another run's, at work."""
    for path in (*folder.glob("*.npy"), *folder.glob(".*.tmp")):
        with contextlib.suppress(OSError):
            old = time.time() - path.stat().st_mtime > _STRAY_SECONDS
            if old and not path.with_suffix(".json").exists():
                path.unlink()


def read_blocks(folder: Path, width: int) -> Iterator[FeatureBlock]:
    """Read every block of a folder, in the order of their names.

    Args:
        folder: Folder of the blocks; where there is none, there are none.
        width: F.

    Raises:
        StoreError: One is damaged; the message says which, and that it may be deleted.
    """
    for path in sorted(folder.glob("*.json")):
        yield _read(path, width)


def _read(path: Path, width: int) -> FeatureBlock:
    try:
        return _checked(path, width)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = (
            f"the feature cache {path.with_suffix('.npy')} is damaged ({error}). Delete it and "
            f"{path.name}, or the whole folder {path.parent.parent}: what is needed of it is "
            "computed again."
        )
        raise StoreError(msg) from error


def _checked(path: Path, width: int) -> FeatureBlock:
    facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if facts.pop("facts_sha256") != _hash(facts):
        msg = f"{path.name} does not match its hash"
        raise ValueError(msg)
    held = path.with_suffix(".npy")
    if sha256_file(held) != facts["sha256"]:
        msg = "its content does not match its hash"
        raise ValueError(msg)
    rows: NDArray[np.float16] = np.load(held, mmap_mode="r", allow_pickle=False)
    keys = tuple(facts["keys"])
    if rows.dtype != np.float16 or rows.shape != (len(keys), width):
        msg = f"it holds {rows.dtype} {list(rows.shape)}, expected float16 [{len(keys)}, {width}]"
        raise ValueError(msg)
    return FeatureBlock(keys, rows)


def _hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
