"""What states, MQTT, webhooks, trust and the page add to a model's latency, side by side.

Three contenders take short turns, many rounds long, with the same frames: `model(frame)` alone,
without trust; the loop alone; and the loop with a state for each task, an MQTT broker with
discovery, a webhook, trust, and the live page with a viewer that also fetches pictures. All are
there all the time, over one session, and whoever has no turn is asked nothing; the viewer is held
meanwhile. A frame's latency in the loop ends when everything is handed out and the loop is ready
for the next one. It needs mosquitto and the extras `cpu`, `mqtt` and `page`, and `export` without a
graph of your own. The last printed line is one JSON object.

    .venv/bin/python benchmarks/answers_cost.py snow.onnx
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks._soak_receivers import Broker, Receiver
from snow_runtime.app.latest_frames import LatestFrames
from snow_runtime.app.loop import Loop, LoopOptions
from snow_runtime.app.outputs.mqtt import Mqtt
from snow_runtime.app.outputs.site import SiteNow, SiteOptions
from snow_runtime.app.outputs.webhook import Webhook
from snow_runtime.app.outputs.webhook_target import WebhookTarget
from snow_runtime.app.page import Dashboard, PageServer, ServingOptions
from snow_runtime.app.states.feed import asked_tasks, keep_states
from snow_runtime.app.states.rules import StateRules
from snow_runtime.backends.onnxruntime_session import OnnxSession
from snow_runtime.cameras.clock import SYSTEM_CLOCK
from snow_runtime.cameras.frame import Frame
from snow_runtime.model import Model
from snow_runtime.swap import SwappableModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from snow_runtime.app.answers import FrameAnswer
    from snow_runtime.app.outputs.jsonl import Output

LIMIT: Final = 1.02
WARM: Final = 2  # frames of each turn that are not timed
RULES: Final = StateRules(2, 3, dwell_s=0.0)
STAYS: Final = 25  # frames that show the same: then states change
VIEWER: Final = """
import json, sys, threading, time, urllib.request
def pictures():
    while True:
        urllib.request.urlopen(sys.argv[1] + "frame/bench.jpg?width=640").read()
        time.sleep(0.1)
threading.Thread(target=pictures, daemon=True).start()
for line in urllib.request.urlopen(sys.argv[1] + "events"):
    pass
"""


@dataclass(frozen=True)
class NamedCamera:
    """What states want to know of a camera."""

    name: str


@dataclass
class OneByOne:
    """A camera that gives its next frame when the one before is done with, and waits between turns.

    Attributes:
        pictures: Its pictures, in turn.
        ended: Whether there will be no frames any more.
    """

    pictures: Sequence[NDArray[np.uint8]]
    ended: bool = False
    cameras: tuple[NamedCamera, ...] = (NamedCamera("bench"),)
    _given: int = 0
    _left: int = 0
    _began: float = 0.0
    _answered: bool = False
    _took_ms: list[float] = field(default_factory=list)
    _free: threading.Event = field(default_factory=threading.Event)
    _done: threading.Event = field(default_factory=threading.Event)

    def visit(self, frames: int) -> list[float]:
        """Give so many frames; return their latencies in milliseconds."""
        self._left, self._took_ms = frames, []
        self._done.clear()
        self._free.set()
        self._done.wait()
        return self._took_ms

    def wait(self, timeout_s: float, at_most: int | None = None) -> list[Frame]:
        """Give the next frame."""
        del at_most
        if not self._free.wait(timeout_s):
            return []
        self._free.clear()
        image = _shown(self.pictures, self._given)
        self._given += 1
        self._began = time.perf_counter()
        return [Frame(image, self._given, SYSTEM_CLOCK.now(), "bench")]

    def put(self, _answer: FrameAnswer) -> None:
        """Note that a frame was answered."""
        self._answered = True

    def close(self) -> None:
        """Do nothing."""

    def beat(self) -> None:
        """Note that the loop is ready for the next frame."""
        if self._answered:
            self._answered = False
            self._took_ms.append(1000 * (time.perf_counter() - self._began))
            self._left -= 1
            (self._free if self._left else self._done).set()


@dataclass
class Bench:
    """The contenders; a context manager, within which they are there.

    Attributes:
        plain: The model without trust.
        trusting: The same with it.
        pictures: What is asked about.
        frames: How many frames a turn has.
        broker: A broker.
        receiver: A receiver of webhooks.
        folder: Files of all.
        told: How much the outputs were told, at the end.
    """

    plain: SwappableModel
    trusting: SwappableModel
    pictures: Sequence[NDArray[np.uint8]]
    frames: int
    broker: Broker
    receiver: Receiver
    folder: Path
    told: dict[str, int] = field(default_factory=dict)
    _shown_alone: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._bare = OneByOne(self.pictures)
            bare = self._loop(self._bare, self.plain, [], LoopOptions(unknown=False))
            stack.enter_context(_running(bare, self._bare))
            self._all = OneByOne(self.pictures)
            mqtt, webhook = self._outputs(stack)
            loop = self._loop(self._all, self.trusting, [mqtt, webhook], LoopOptions())
            loop.states = keep_states(self.trusting, self._all, RULES)  # type: ignore[arg-type]
            page = stack.enter_context(self._page(loop))
            self._viewer = stack.enter_context(_viewer(page.url))
            mqtt.attend(SiteOptions(self._site, None, "homeassistant"))
            stack.callback(mqtt.leave)
            stack.callback(self._note, loop)
            stack.enter_context(_running(loop, self._all))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def alone(self) -> list[float]:
        """Ask the model about one frame after another."""
        took = []
        for _ in range(self.frames):
            picture = _shown(self.pictures, self._shown_alone)
            self._shown_alone += 1
            began = time.perf_counter()
            self.plain(picture, "bgr")
            took.append(1000 * (time.perf_counter() - began))
        return took[WARM:]

    def bare(self) -> list[float]:
        """Let the loop ask, with nothing around it."""
        return self._bare.visit(self.frames)[WARM:]

    def everything(self) -> list[float]:
        """Let the loop ask, with all that there is."""
        self._viewer.send_signal(signal.SIGCONT)
        took = self._all.visit(self.frames)[WARM:]
        self._viewer.send_signal(signal.SIGSTOP)
        return took

    def _note(self, loop: Loop) -> None:
        counts = loop.stats.snapshot()["counts"]
        for what in ("state_changes", "mqtt_lost", "webhook_lost"):
            self.told[what] = counts.get(what, 0)

    def _outputs(self, stack: ExitStack) -> tuple[Mqtt, Webhook]:
        mqtt = Mqtt(f"mqtt://127.0.0.1:{self.broker.port}/bench", lambda _: None)
        stack.callback(mqtt.close)
        target = WebhookTarget.parse(self.receiver.address, (), None)
        webhook = Webhook(target, lambda _: None, self.folder / "queue.sqlite")
        stack.callback(webhook.close)
        return mqtt, webhook

    def _loop(
        self,
        camera: OneByOne,
        model: SwappableModel,
        outputs: list[Output],
        options: LoopOptions,
    ) -> Loop:
        cameras: Any = camera
        loop = Loop(model, cameras, [*outputs, camera], options, live=LatestFrames())
        loop.beat = camera.beat
        return loop

    def _page(self, loop: Loop) -> PageServer:
        state = {"state": "connected", "since_s": 1.0, "error": None, "connected": 1}
        counts = dict.fromkeys(
            ("frames", "drops", "reconnections", "bad_frames", "repeats", "abandoned", "lost_s"), 0
        )
        board = Dashboard(
            loop.live, loop.stats, lambda: {"bench": {**state, **counts}}, lambda: loop.asked
        )
        return PageServer(board, ServingOptions(port=0))

    def _site(self) -> SiteNow:
        asked = {("bench", name): task for name, task in asked_tasks(self.trusting).items()}
        return SiteNow({"bench": "online"}, asked, dict.fromkeys(asked, True))


@contextmanager
def _running(loop: Loop, camera: OneByOne) -> Iterator[None]:
    """Let a loop run in a thread."""
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        camera.ended = True
        thread.join()


@contextmanager
def _viewer(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Look at the page from another process, as a browser does."""
    process = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", VIEWER, url], stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(1)  # it starts
        yield process
    finally:
        process.kill()
        process.wait()


def main() -> int:
    """Measure, print a table, and return 1 where it costs more than it may."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("graph", type=Path, nargs="?", help="of `export --features`, with tasks")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--frames", type=int, default=12, help="of each turn")
    parser.add_argument("--quick", action="store_true", help="a small network, few rounds")
    parser.add_argument("--size", default="1280x720", help="of the frames, WIDTHxHEIGHT")
    parser.add_argument("--threads", type=int, help="of ONNX Runtime")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    width, height = map(int, given.size.split("x"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="snow-cost-")))
        broker = Broker(folder)
        broker.start()
        stack.callback(broker.stop)
        graph = given.graph or _own_graph(folder, quick=given.quick)
        # One session: of two of the same graph, one may be faster by more than what is measured.
        session = OnnxSession(graph, None, given.threads)
        stack.callback(session.close)
        plain, trusting = (
            SwappableModel(Model(session, session.manifest, unlikeness=trust))
            for trust in (False, True)
        )
        bench = Bench(
            *(plain, trusting, _pictures(width, height), given.frames, broker),
            *(stack.enter_context(Receiver()), folder),
        )
        with bench:
            found = measure(bench, 10 if given.quick else given.rounds)
        found["events"] = {**bench.told, "at_the_webhook": len(bench.receiver.events)}
    print(json.dumps({"graph": graph.name, "size": given.size, **found}))
    return 0 if given.quick or found["ratio"] <= LIMIT else 1


def _own_graph(folder: Path, *, quick: bool) -> Path:
    """Write a random network with two tasks; it has no features, so that trust costs nothing."""
    from benchmarks._graphs import GraphMaker
    from benchmarks._scenario import Fleet, Scenario

    scenario = Scenario("resnet18", 64) if quick else Scenario()
    return GraphMaker(Fleet(scenario), folder).shared("fused", 1)


def measure(bench: Bench, rounds: int) -> dict[str, Any]:
    """Let the contenders take turns; compare the medians of each round."""
    visits: dict[str, Callable[[], list[float]]] = {
        "alone": bench.alone,
        "loop": bench.bare,
        "everything": bench.everything,
    }
    medians: dict[str, list[float]] = {name: [] for name in visits}
    for number in range(rounds):
        for name in list(visits) if number % 2 == 0 else list(visits)[::-1]:
            medians[name].append(statistics.median(visits[name]()))
    print(f"{'':<12}{'median ms':>10}{'of alone':>10}   95 % of the median")
    ratios = {}
    for name, values in medians.items():
        parts = [one / alone for one, alone in zip(values, medians["alone"], strict=True)]
        ratios[name] = statistics.median(parts)
        lowest, highest = _median_interval(parts)
        line = f"{name:<12}{statistics.median(values):>10.2f}{ratios[name]:>10.4f}"
        print(f"{line}   {lowest:.4f} to {highest:.4f}")
    return {
        "rounds": rounds,
        "frames": bench.frames,
        "median_ms": {name: round(statistics.median(each), 3) for name, each in medians.items()},
        "ratio": round(ratios["everything"], 4),
        "ratio_of_the_loop": round(ratios["loop"], 4),
        "added": round(ratios["everything"] - ratios["loop"], 4),
    }


def _median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Give bounds of the median with 95 %, by ranks: half of all lie above it, but for chance."""
    ordered, count = sorted(values), len(values)
    rank = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
    return ordered[rank], ordered[count - 1 - rank]


def _shown(pictures: Sequence[NDArray[np.uint8]], number: int) -> NDArray[np.uint8]:
    return pictures[number // STAYS % len(pictures)]


def _pictures(width: int, height: int) -> list[NDArray[np.uint8]]:
    """Draw smooth pictures, uint8 `[H, W, 3]`, that differ."""
    from PIL import Image

    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (16, 9, 16, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(each).resize((width, height))) for each in small]


if __name__ == "__main__":
    sys.exit(main())
