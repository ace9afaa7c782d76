"""Complete JPEG pictures, cut out of a stream of bytes.

What MJPEG over HTTP sends between the pictures is often wrong: a boundary that is not the one
announced, a ``Content-Length`` that does not fit. So a picture is found by its own structure
(ITU-T T.81, annex B): from its start marker from segment to segment, each with its length, over the
coded data up to the end marker. A thumbnail inside a segment is passed over with it. The boundary
serves for one thing: a picture across which it runs was cut short, and the next begins after it.
"""

from __future__ import annotations

import re
from typing import Final

_START: Final = b"\xff\xd8\xff"
# The end of coded data: a marker that is neither a stuffed byte nor a restart.
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EOI, _SOS = 0xD9, 0xDA
_NEVER: Final = frozenset([0x00, 0x01, 0xD8, *range(0xD0, 0xD8)])  # not between two segments
_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame
_MOST_HEADER_BYTES: Final = 1 << 20  # profiles and thumbnails before the coded data
_SHORTEST_BOUNDARY: Final = 3  # a shorter one would turn up in coded data by chance


class _DamagedError(Exception):
    """What began like a picture is none."""


class JpegCutter:
    """Takes bytes as they come and gives the pictures that are complete.

    Args:
        boundary: What the server announced to stand between pictures; None if nothing.
        most_bytes: A longer picture is thrown away.
        most_pixels: A picture of more pixels is thrown away, before any decoder makes room for it.

    Attributes:
        bad: How many pictures began and were damaged, cut short or too large.
    """

    def __init__(
        self,
        boundary: bytes | None = None,
        *,
        most_bytes: int = 16 << 20,
        most_pixels: int = 64_000_000,
    ) -> None:
        core = (boundary or b"").strip(b"-")
        self._boundary = b"--" + core if len(core) >= _SHORTEST_BOUNDARY else None
        self._most_bytes = most_bytes
        self._most_pixels = most_pixels
        self._buffer = bytearray()  # begins with a picture's start, if `_at` is above 0
        self._at = 0  # how far the picture is known to be sound
        self._searched = 0  # how far there is no boundary
        self._coded = False  # whether `_at` is in coded data
        self._sized = False  # whether the picture has given its size
        self._missing = 0  # how many bytes of coded data it must still have, at the least
        self._bounded = False  # whether the boundary was ever seen where it belongs
        self._to_boundary = False  # whether all is to be passed over up to the next
        self._kept = max(len(self._boundary or b""), len(_START)) - 1
        self.bad = 0

    @property
    def waiting_bytes(self) -> int:
        """How many bytes are kept until more come."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; give the pictures that are complete now, in order."""
        self._buffer += data
        pictures = []
        while self._at or self._find_start():
            try:
                end = self._complete()
            except _DamagedError:
                self.bad += 1
                self._pass_damaged()
                continue
            if end is None:
                break
            pictures.append(bytes(self._buffer[:end]))
            self._forget(end)
        return pictures

    def _pass_damaged(self) -> None:
        """Go on behind the next boundary, or where none was ever seen behind the start."""
        found = self._buffer.find(self._boundary) if self._boundary else -1
        if found < 0:
            found = len(_START) - 1
            self._to_boundary = self._bounded  # a thumbnail in the rest is no picture
        self._forget(found)

    def _find_start(self) -> bool:
        if self._to_boundary and not self._find_boundary():
            return False
        found = self._buffer.find(_START)
        between = len(self._buffer) if found < 0 else found
        if self._boundary and self._buffer.find(self._boundary, 0, between) >= 0:
            self._bounded = True
        if found < 0:  # the last bytes may be the beginning of a start, or of a boundary
            self._forget(max(0, len(self._buffer) - self._kept))
            return False
        self._forget(found)
        self._at = len(_START) - 1
        return True

    def _find_boundary(self) -> bool:
        found = self._buffer.find(self._boundary or b"")
        self._forget(found if found >= 0 else max(0, len(self._buffer) - self._kept))
        self._to_boundary = found < 0
        return found >= 0

    def _forget(self, count: int) -> None:
        del self._buffer[:count]
        self._at = self._searched = 0
        self._coded = self._sized = False
        self._missing = 0

    def _complete(self) -> int | None:
        """Give the end of the picture, None if more bytes have to come."""
        end = self._walk()
        known = len(self._buffer) if end is None else end
        if known > self._most_bytes or self._boundary_before(known):
            raise _DamagedError
        return end

    def _walk(self) -> int | None:
        """Go on along the picture from segment to segment."""
        while True:
            if self._coded and not self._pass_coded():
                return None
            bytes_there = len(self._buffer) - self._at
            if bytes_there < 2:
                return None
            code = self._buffer[self._at + 1]
            if self._buffer[self._at] != 0xFF or code in _NEVER:
                raise _DamagedError
            if code == 0xFF:  # a fill byte before a marker
                self._at += 1
                continue
            if code == _EOI:
                if not self._sized or self._missing > 0:
                    raise _DamagedError
                return self._at + 2
            length = int.from_bytes(self._buffer[self._at + 2 : self._at + 4], "big")
            if bytes_there >= 4 and length < 2:  # it counts its own two bytes
                raise _DamagedError
            if bytes_there < 4 or bytes_there < 2 + length:
                return None
            self._enter(code, bytes(self._buffer[self._at + 4 : self._at + 2 + length]))
            self._at += 2 + length

    def _pass_coded(self) -> bool:
        """Go to the marker after the coded data, if it is here."""
        marker = _MARKER.search(self._buffer, self._at)
        # The last byte may begin a marker.
        end = marker.start() if marker else max(self._at, len(self._buffer) - 1)
        self._missing -= end - self._at
        self._at, self._coded = end, marker is None
        return marker is not None

    def _enter(self, code: int, body: bytes) -> None:
        """Look at a segment: a start of frame tells precision, height and width first."""
        if code in _SIZES:
            height, width = (int.from_bytes(body[at : at + 2], "big") for at in (1, 3))
            if not 0 < height * width <= self._most_pixels:
                raise _DamagedError
            self._sized = True
            self._missing = height * width // 512  # a bit for each 8 by 8 pixels
        self._coded = code == _SOS
        if not self._sized and (self._coded or self._at > _MOST_HEADER_BYTES):
            raise _DamagedError

    def _boundary_before(self, end: int) -> bool:
        if self._boundary is None:
            return False
        if self._buffer.find(self._boundary, self._searched, end) >= 0:
            return True
        self._searched = max(self._searched, end - len(self._boundary) + 1)
        return False
