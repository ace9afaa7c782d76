"""A box for tests: a collection with labelled pictures of colours, and a small model at work."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from snow_runtime.collection.collection import Collection
from snow_runtime.collection.records import CollectionQuestion, NewPicture
from snow_runtime.refit.options import RefitOptions
from snow_runtime.refit.process import FitProcess
from snow_runtime.refit.worker import work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_runtime.refit.service import RefitService
    from snow_runtime.swap import SwappableModel

COLOURS = {"blue": (40, 60, 200), "red": (200, 50, 40)}
QUICK = RefitOptions(quiet_s=0.05, memory_bytes=0, tick_s=0.02, look_s=0.1)
HOUR = 3600.0


class InlineFit(FitProcess):
    """A fit that is done at once, here: most tests need no process for it."""

    def _begun(self) -> Any:
        work(self.folder)
        return _Ended()


class _Ended:
    stdin = None
    returncode = 0
    pid = 0

    def poll(self) -> int:
        return 0


def jpeg_of(colour: str, rng: np.random.Generator) -> bytes:
    """Draw a noisy picture of a colour."""
    pixels = np.array(COLOURS[colour]) + rng.normal(0, 30, 3) + rng.normal(0, 20, (16, 16, 3))
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def fill(
    collection: Collection,
    model: SwappableModel,
    each: int = 8,
    *,
    seed: int = 0,
    **fields: Any,
) -> list[tuple[int, str]]:
    """Keep pictures of both colours, an hour apart; return their numbers and colours."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(each * len(COLOURS)):
        colour = list(COLOURS)[number % len(COLOURS)]
        jpeg = jpeg_of(colour, rng)
        with Image.open(io.BytesIO(jpeg)) as image:
            features = model.features([image.convert("RGB")])[0].astype(np.float16)
        given: dict[str, Any] = {
            "camera": "door",
            "taken_at": 1e9 + HOUR * (number + 1000 * seed),
            "reason": "random",
            "features": features,
            "source_sha256": model.manifest.source.sha256,
            **fields,
        }
        kept = collection.add(NewPicture(jpeg, **given))
        assert kept is not None
        found.append((kept, colour))
    return found


def ask(collection: Collection, name: str = "colour") -> CollectionQuestion:
    """Ask for the colour of the door."""
    question = CollectionQuestion(name, tuple(COLOURS), camera="door")
    collection.add_question(question)
    return question


def label(collection: Collection, pictures: list[tuple[int, str]], name: str = "colour") -> None:
    """Label pictures rightly, a batch a colour."""
    for colour in COLOURS:
        collection.label([each for each, shown in pictures if shown == colour], name, colour, "me")


def until(holds: Callable[[], Any], seconds: float = 40.0) -> Any:
    """Wait until something holds, and give it."""
    ends = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < ends, "it never came to hold"
        time.sleep(0.02)
    return found


def live_of(service: RefitService, name: str = "colour") -> Callable[[], Any]:
    """Give what tells the number of the live version, with nothing under way."""

    def look() -> Any:
        status = service.status(name)
        return status["phase"] == "idle" and status["live"]

    return look


def open_box(folder: Path, model: SwappableModel, each: int = 8) -> Collection:
    """Make a collection with labelled pictures."""
    collection = Collection.open(folder, create=True)
    ask(collection)
    label(collection, fill(collection, model, each))
    return collection
