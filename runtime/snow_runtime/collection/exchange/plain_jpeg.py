"""A picture as a JPEG file that holds the picture and nothing else.

What cameras, phones and programs write beside it may say where, when and by whom it was taken, and
may hold a smaller copy of it, or a film: EXIF, XMP, IPTC, comments, what follows after its end.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

_QUALITY: Final = 95
_HARMLESS: Final = {
    "APP0": (b"JFIF\0", 14),  # how dense its pixels are; longer ones have a small copy
    "APP2": (b"ICC_PROFILE\0", 1 << 16),  # what its colours mean
    "APP14": (b"Adobe", 12),  # how its colours are coded
}
"""How segments begin that say nothing of whom or where, and the most bytes of each."""
_END: Final = b"\xff\xd9"


def jpeg_of(content: bytes, image: Image) -> bytes:
    """Return a picture's file as it is, if it is a JPEG and holds nothing else; else a new one.

    Args:
        content: What is in its file.
        image: The picture as it is shown, RGB.

    Raises:
        OSError: It cannot be read any more.
    """
    if _is_plain(content):
        return content
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def _is_plain(content: bytes) -> bool:
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(content)) as opened:
        if opened.format != "JPEG" or opened.mode != "RGB" or opened.getexif():
            return False
        beside = getattr(opened, "applist", ())  # the segments before the picture, comments too
    known = all(_is_harmless(kind, body) for kind, body in beside)
    # Compressed pixels never hold the mark of the end; a second one is that of another picture.
    return known and content.count(_END) == 1 and content.endswith(_END)


def _is_harmless(kind: str, body: bytes) -> bool:
    begin, most = _HARMLESS.get(kind, (b"", -1))
    return body.startswith(begin) and len(body) <= most
