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
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    found = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(found, dict) or not found:
        return None
    for key, name in found.items():
        if not isinstance(name, str) or PurePath(name).name != name or name in {"", ".", ".."}:
            msg = (
                f"{path} says that {key} is in {name!r}, expected the name of a file beside it. "
                "Download the index again."
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
    absent = [name for name in names if not (path.parent / name).is_file()]
    if absent:
        msg = (
            f"{path} shares the weights out to {len(names)} files, and {len(absent)} of them "
            f"{'is' if len(absent) == 1 else 'are'} not beside it ({', '.join(absent[:3])}). "
            "Put all of them into one folder."
        )
        raise SourceError(msg)
    parts = {name: read(path.parent / name) for name in names}
    for key, name in index.items():
        if not isinstance(parts[name], dict) or key not in parts[name]:
            msg = f"{path} says that {key} is in {name}, which lacks it. Download both again."
            raise SourceError(msg)
    return {key: parts[name][key] for key, name in index.items()}
