"""Weights shared out to several files, with an index that says which tensor is in which."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from snow_deploy.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_LARGEST_INDEX = 1 << 26
"""Bytes; indices of the largest networks have some megabytes."""


class _RepeatedError(Exception):
    """An object of JSON has a key twice; the text is the key."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise _RepeatedError(key)
        found[key] = value
    return found


def read_index(path: Path) -> dict[str, str] | None:
    """Return the file of each tensor by its key; None where a file is no such index.

    Args:
        path: A file that begins as JSON does, such as `model.safetensors.index.json`.

    Raises:
        SourceError: It is an index, and not one that can be followed.
    """
    if path.stat().st_size > _LARGEST_INDEX:
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_pairs)
    except _RepeatedError as error:
        msg = (
            f"{path} names {str(error)!a} twice, expected one file for each tensor. Download "
            "the index again."
        )
        raise SourceError(msg) from error
    except (ValueError, RecursionError):
        return None
    found = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(found, dict) or not found:
        return None
    for key, name in found.items():
        beside = isinstance(name, str) and PurePath(name).name == name and name not in {"", "."}
        if not beside or name == ".." or name.endswith(".json"):
            msg = (
                f"{path} says that {ascii(key)[1:-1]} is in {name!a}, expected the name of a "
                "file of tensors beside it. Download the index again."
            )
            raise SourceError(msg)
    return found


def read_shards(
    path: Path, index: Mapping[str, str], read: Callable[[Path], Any]
) -> dict[str, Any]:
    """Return the tensors that an index names.

    Args:
        path: The index; the files lie beside it.
        index: What `read_index` returned.
        read: Function that reads one of the files: its tensors by key.

    Raises:
        SourceError: A file is missing or cannot be read, or lacks a tensor.
    """
    names = list(dict.fromkeys(index.values()))
    absent = [name for name in names if not _is_file(path.parent / name)]
    if absent:
        shown = ", ".join(ascii(name)[1:-1] for name in absent[:3])
        msg = (
            f"{path} shares the weights out to {len(names)} files, and {len(absent)} of them "
            f"{'is' if len(absent) == 1 else 'are'} not beside it ({shown}). Put all of them into "
            "one folder."
        )
        raise SourceError(msg)
    parts = {name: read(path.parent / name) for name in names}
    for key, name in index.items():
        if not isinstance(parts[name], dict) or key not in parts[name]:
            msg = (
                f"{path} says that {ascii(key)[1:-1]} is in {name}, which lacks it. Download both "
                "again."
            )
            raise SourceError(msg)
    return {key: parts[name][key] for key, name in index.items()}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
