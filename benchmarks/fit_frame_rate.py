"""What a fit on the box costs the frames: frames/s of a running loop without and during one.

One loop answers the frames of a camera, and collects, as `run --collect` does. By turns nothing
else happens for a while, and a question is fitted anew, again and again, for as long: labelled
pictures are gathered, a process fits them, and the version goes live. Of each round the frames/s
during fits are compared with those of the rest beside it; the median of the rounds counts. A camera
of `--rate` frames/s leaves room where the model is faster; without one the next frame is there at
once, the loop takes all processors, and a fit, which has the lowest priority, gets what is left: it
may not end until the frames pause, as they do after each visit. It needs the extras `learn` and
`cpu`, and `export` without a graph of your own. The last printed line is one JSON object.

    .venv/bin/python benchmarks/fit_frame_rate.py snow.onnx --rate 10
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from snow_runtime.app.collecting import Collecting
from snow_runtime.app.latest_frames import LatestFrames
from snow_runtime.app.loop import Loop
from snow_runtime.cameras.clock import SYSTEM_CLOCK
from snow_runtime.cameras.frame import Frame
from snow_runtime.collection.collection import Collection
from snow_runtime.collection.collector import Collector
from snow_runtime.collection.options import CollectionOptions
from snow_runtime.collection.records import CollectionQuestion, NewPicture
from snow_runtime.model import load
from snow_runtime.refit.service import RefitService
from snow_runtime.swap import SwappableModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from snow_runtime.app.answers import FrameAnswer

MOST_LOST: Final = 0.05
QUESTION: Final = "bench"
LABELS: Final = ("one", "other")
HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class NamedCamera:
    """What a loop wants to know of a camera."""

    name: str


@dataclass
class Endless:
    """A camera that gives frame after frame, and an output that counts the answers.

    Attributes:
        picture: What it shows.
        rate: Its frames/s; None where the next is there at once.
        answered: How many frames were answered.
        runs: Set as long as it gives frames.
        cameras: Its one camera.
        ended: It never does.
    """

    picture: NDArray[np.uint8]
    rate: float | None = None
    answered: int = 0
    runs: threading.Event = field(default_factory=threading.Event)
    cameras: tuple[NamedCamera, ...] = (NamedCamera("bench"),)
    ended: bool = False
    _given: int = field(default=0, repr=False)
    _due_s: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        self.runs.set()

    def wait(self, timeout_s: float, at_most: int | None = None) -> list[Frame]:
        """Give the next frame; one that nobody fetched in time is gone, as a camera's is."""
        del at_most
        if not self.runs.wait(timeout_s):
            return []
        if self.rate is not None:
            time.sleep(max(0.0, self._due_s - time.perf_counter()))
            missed = int((time.perf_counter() - self._due_s) * self.rate)
            self._due_s += (missed + 1) / self.rate
        self._given += 1
        return [Frame(self.picture, self._given, SYSTEM_CLOCK.now(), "bench")]

    def put(self, _answer: FrameAnswer) -> None:
        """Note that a frame was answered."""
        self.answered += 1

    def close(self) -> None:
        """Do nothing."""


@dataclass
class Bench:
    """A loop at work, and what fits beside it.

    Attributes:
        camera: What it looks at.
        service: What fits.
        took_s: How long each fit took, in seconds.
    """

    camera: Endless
    service: RefitService
    took_s: list[float] = field(default_factory=list)

    def rest(self, seconds: float) -> float:
        """Give the frames/s while nothing else happens."""
        began, before = time.perf_counter(), self.camera.answered
        time.sleep(seconds)
        return (self.camera.answered - before) / (time.perf_counter() - began)

    def fit(self, seconds: float) -> float:
        """Give the frames/s while fits follow each other; the frames pause until the last ends."""
        ends = time.perf_counter() + seconds
        with ThreadPoolExecutor(1) as pool:
            fits = pool.submit(self._fit_until, ends)
            try:
                return self.rest(seconds)
            finally:
                self.camera.runs.clear()
                fits.result()
                self.camera.runs.set()

    def _fit_until(self, ends: float) -> None:
        """Fit again and again; note how long those took that ended among frames."""
        while (started := time.perf_counter()) < ends:
            if self.service.fit_now(QUESTION) is None:
                msg = f"It was not fitted: {self.service.status(QUESTION)['text']}"
                raise RuntimeError(msg)
            if time.perf_counter() < ends:
                self.took_s.append(time.perf_counter() - started)


def main() -> int:
    """Measure, print a table, and return 1 where more frames are lost than may be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("graph", type=Path, nargs="?", help="of `export --features`")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each visit")
    parser.add_argument("--rate", type=float, help="the camera's, in frames/s")
    parser.add_argument("--pictures", type=int, default=200, help="labelled ones")
    parser.add_argument("--quick", action="store_true", help="a small network, two short rounds")
    parser.add_argument("--size", default="1280x720", help="of the frames, WIDTHxHEIGHT")
    parser.add_argument("--threads", type=int, help="of ONNX Runtime")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    rounds, seconds, pictures = given.rounds, given.seconds, given.pictures
    if given.quick:
        rounds, seconds, pictures = 2, 0.5, 40
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory(prefix="snow-fit-rate-") as name:
        folder = Path(name)
        graph = given.graph or _own_graph(folder, quick=given.quick)
        with SwappableModel(load(graph, threads=given.threads)) as model:
            picture = np.asarray(_noise(np.random.default_rng(0), width, height))
            camera = Endless(picture, given.rate)
            with at_work(model, camera, folder / "kept", pictures) as bench:
                found = measure(bench, rounds, seconds)
    said = {"graph": graph.name, "size": given.size, "pictures": pictures, "rate": given.rate}
    print(json.dumps({**said, **found}))
    return 0 if given.quick or found["lost"] <= MOST_LOST else 1


@contextmanager
def at_work(model: SwappableModel, camera: Endless, folder: Path, pictures: int) -> Iterator[Bench]:
    """Let a loop run in a thread, with a collection that has labelled pictures."""
    with ExitStack() as stack:
        collection = stack.enter_context(Collection.open(folder, create=True))
        fill(collection, model, pictures)
        cameras: Any = camera
        loop = Loop(model, cameras, [camera], live=LatestFrames())
        collector = Collector(folder, CollectionOptions(), loop.stats.count)
        stack.callback(collector.close)
        loop.collecting = Collecting(collector, loop.stats.count)
        thread = threading.Thread(target=loop.run, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(loop.stop)
        bench = Bench(camera, RefitService(collection, model))
        while camera.answered < 5:  # it is warm
            time.sleep(0.01)
        yield bench


def fill(collection: Collection, model: SwappableModel, pictures: int) -> None:
    """Keep labelled pictures of two classes that overlap, an hour apart."""
    entry, source = model.manifest.features, model.manifest.source.sha256
    if entry is None:
        msg = "The graph gives no features out. Export it with --features."
        raise SystemExit(msg)
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(len(LABELS), entry.width))
    collection.add_question(CollectionQuestion(QUESTION, LABELS))
    for number in range(pictures):
        row = middles[number % len(LABELS)] + rng.normal(scale=4, size=entry.width)
        stream = io.BytesIO()
        _noise(rng, 64, 64).save(stream, "JPEG")
        kept = collection.add(
            NewPicture(
                stream.getvalue(),
                "bench",
                taken_at=HOUR_S * number,
                reason="random",
                features=row.astype(np.float16),
                source_sha256=source,
            )
        )
        if kept is not None:
            collection.label([kept], QUESTION, LABELS[number % len(LABELS)], "bench")


def measure(bench: Bench, rounds: int, seconds: float) -> dict[str, Any]:
    """Rest and fit by turns; compare the frames/s of each round."""
    visits = {"rest": bench.rest, "fit": bench.fit}
    rates: dict[str, list[float]] = {name: [] for name in visits}
    bench.fit(0.001)  # what is loaded once is no part of it
    bench.took_s.clear()
    for number in range(rounds):
        for name in list(visits) if number % 2 == 0 else list(visits)[::-1]:
            rates[name].append(visits[name](seconds))
    parts = [during / alone for alone, during in zip(rates["rest"], rates["fit"], strict=True)]
    print(f"{'round':<8}{'rest':>10}{'fit':>10}{'of it':>8}   frames/s")
    for number, (alone, during, part) in enumerate(
        zip(rates["rest"], rates["fit"], parts, strict=True), 1
    ):
        print(f"{number:<8}{alone:>10.2f}{during:>10.2f}{part:>8.3f}")
    return {
        "rounds": rounds,
        "fits": len(bench.took_s),
        "fit_s": round(statistics.median(bench.took_s), 3) if bench.took_s else None,
        "frames_per_s": {name: round(statistics.median(each), 3) for name, each in rates.items()},
        "lost": round(1 - statistics.median(parts), 4),
        "lost_at_worst": round(1 - min(parts), 4),
    }


def _own_graph(folder: Path, *, quick: bool) -> Path:
    """Write a random network with two tasks and its features."""
    from benchmarks._graphs import GraphMaker
    from benchmarks._scenario import Fleet, Scenario

    scenario = Scenario("resnet18", 64) if quick else Scenario()
    return GraphMaker(Fleet(scenario), folder, with_features=True).shared("fused", 1)


def _noise(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw a smooth picture that no other one is."""
    small = rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height))


if __name__ == "__main__":
    sys.exit(main())
