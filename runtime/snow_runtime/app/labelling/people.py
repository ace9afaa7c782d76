"""Who is labelling just now, by the names that browsers tell."""

from __future__ import annotations

import threading
import time
from typing import Final

HERE_S: Final = 10.0
"""So long after a browser's last word its user is still there; it speaks every two seconds."""
_MOST: Final = 100


class People:
    """Names, with when they were last heard of."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def saw(self, name: str) -> None:
        """Note that somebody is there."""
        with self._lock:
            self._seen.pop(name, None)  # the one heard of last stands last
            self._seen[name] = time.monotonic()
            while len(self._seen) > _MOST:
                del self._seen[next(iter(self._seen))]

    def here(self) -> list[str]:
        """Give the names of those who are there, sorted."""
        least = time.monotonic() - HERE_S
        with self._lock:
            self._seen = {name: at for name, at in self._seen.items() if at >= least}
            return sorted(self._seen)
