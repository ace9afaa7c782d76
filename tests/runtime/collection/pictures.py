"""Small JPEG files for tests, each with stripes of its own."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from snow_runtime.collection.records import NewPicture, Reason


def jpeg(number: int, width: int = 16, height: int = 8) -> bytes:
    """Give a picture that no other number gives."""
    pixels = np.full((height, width, 3), 40, np.uint8)
    for bit in range(min(width, 16)):
        pixels[:, bit] += 180 * (number >> bit & 1)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def new_picture(
    number: int,
    camera: str = "gate",
    view: str = "",
    reason: Reason = "unsure",
    *,
    novelty: float = 0.0,
) -> NewPicture:
    """Give a picture with features and an answer that tell its number."""
    return NewPicture(
        jpeg(number),
        camera,
        view,
        taken_at=1000.0 + number,
        reason=reason,
        features=np.asarray([number % 2048, 0.5, -2.0], np.float16),
        source_sha256="5" * 64,
        model_sha256="6" * 64,
        answers={"door": {"label": "open", "probability": 0.5}},
        novelty=novelty,
    )
