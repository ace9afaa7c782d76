"""Files that hold the same picture, by whatever path: links, copies under another name."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snow_deploy.data.pictures import Pictures


class KnownFiles:
    """Tells which files hold the bytes of one that is known.

    Only files as long as a known one are read. What is not there or cannot be read is no copy;
    nor are pictures that are in no file of their own.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Know the files by their paths."""
        self._by_size: dict[int, list[str]] = defaultdict(list)
        self._places: set[str] = set()
        self._digests: dict[int, frozenset[bytes]] = {}
        for name in names:
            place = os.path.realpath(name)
            if place not in self._places and (size := _size(place)):
                self._places.add(place)
                self._by_size[size].append(place)

    def has(self, name: str) -> bool:
        """Tell whether a file is a known one or holds the same bytes."""
        place = os.path.realpath(name)
        if place in self._places:
            return True
        size = _size(place)
        if not size or size not in self._by_size:
            return False
        if size not in self._digests:
            known = (_digest(each) for each in self._by_size[size])
            self._digests[size] = frozenset(each for each in known if each is not None)
        return _digest(place) in self._digests[size]


def copies(pictures: Pictures, *others: Pictures) -> frozenset[int]:
    """Return which pictures, by index, are in a file of the others too, or in a copy of one."""
    known = KnownFiles(each.name(n) for each in others for n in range(len(each)))
    return frozenset(n for n in range(len(pictures)) if known.has(pictures.name(n)))


def _size(place: str) -> int:
    """Return how long a file is; 0 where there is none."""
    return Path(place).stat().st_size if Path(place).is_file() else 0


def _digest(place: str) -> bytes | None:
    try:
        return hashlib.sha256(Path(place).read_bytes()).digest()
    except OSError:
        return None
