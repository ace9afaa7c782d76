"""Does `snow-deploy run` keep its word while everything around it comes and goes?

A camera flaps, a broker goes and comes, the receiver of webhooks refuses, the model is exchanged
once a minute, and a viewer looks at the page. Every change of a state has to reach the broker's
listener and the webhook's receiver once at least, what the broker keeps has to be right at the end,
and memory has to stay flat. `--pace 6` lets all of that come and go six times as often, so that
ten minutes have the events of an hour. It needs mosquitto and the extras `cpu`, `camera`, `mqtt`,
`page` and `export`. The last printed line is one JSON object; the exit status is 1 where something
failed.

    .venv/bin/python benchmarks/soak.py --minutes 60
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks._colour_graph import write_colour_graph
from benchmarks._slope import slope_of
from benchmarks._soak_camera import FlappingCamera
from benchmarks._soak_receivers import Broker, Listener, PageViewer, Receiver, identity

TICK_S: Final = 0.5
SETTLE_S: Final = 150.0  # the webhook tries again after a minute at most
DWELL_S: Final = 0.3
WARM: Final = 1 / 6  # of the time; memory is looked at from then on
LONG_MINUTES: Final = 30  # less says nothing about memory
GROWTH_MB_PER_HOUR: Final = 1.0
TAGS: Final = (("bright", "warm"), ("bright", "ruddy"))  # the models' that take turns
CONFIG: Final = """\
model = "{model}"
output = "mqtt"

[cameras.gate]
address = "{camera}"

[cameras.gate.views.left]
box = [0, 0, 0.5, 1]

[questions.colour]
task = "colour"

[questions.left]
task = "colour"
camera = "gate"
view = "left"
seconds = 0.3

[questions.tags]
task = "tags"

[states]
agree = "2/3"
dwell = {dwell}
stale = 4

[mqtt]
url = "mqtt://127.0.0.1:{broker}/soak"
switches = true
discovery = "homeassistant"

[webhook]
url = "{receiver}"
queue = "{queue}"

[page]
port = 0
"""


@dataclass
class World:
    """All that is around the program.

    Attributes:
        folder: Files of all.
        camera: The camera.
        broker: The broker.
        receiver: The webhook's receiver.
        process: The program.
        memory_mb: Its memory, with the seconds since the beginning.
        swaps: How often the model was exchanged.
    """

    folder: Path
    camera: FlappingCamera
    broker: Broker
    receiver: Receiver
    process: subprocess.Popen[bytes]
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    swaps: int = 0

    def turn(self, passed_s: float, pace: float) -> None:
        """Let things be as they are at a time: each has a rhythm of its own."""
        self.memory_mb.append((passed_s, _memory_mb(self.process.pid)))
        passed_s *= pace
        self.camera.away = passed_s % 45 > 37
        self.camera.hangs = passed_s % 71 > 62
        self.receiver.refuses = passed_s % 31 > 22
        self.receiver.forgets = passed_s % 7 > 6
        if passed_s % 47 > 38:
            self.broker.stop()
        else:
            self.broker.start()
        if passed_s // 60 > self.swaps:
            self.swap()

    def swap(self) -> None:
        """Put another model in the place of the present one."""
        self.swaps += 1
        fresh = self.folder / "fresh.onnx"
        write_colour_graph(fresh, TAGS[self.swaps % 2])
        fresh.replace(self.folder / "snow.onnx")
        self.process.send_signal(signal.SIGHUP)

    def calm(self) -> None:
        """Let everything be there, and nothing change."""
        self.camera.away = self.camera.hangs = False
        self.camera.still = True
        self.receiver.refuses = self.receiver.forgets = False
        self.broker.start()


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--quick", action="store_const", dest="minutes", const=1.0)
    parser.add_argument("--pace", type=float, default=1.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="snow-soak-") as name:
        found = soak(Path(name), given.minutes, given.pace)
    for fault in found["faults"]:
        print(f"FAULT: {fault}")
    print(json.dumps(found))
    return 1 if found["faults"] else 0


def soak(folder: Path, minutes: float, pace: float) -> dict[str, Any]:
    """Let it run for some minutes, and look what became of it.

    Args:
        folder: Folder for files of all.
        minutes: How long.
        pace: How many times as often as usual things come and go.
    """
    broker = Broker(folder)
    with FlappingCamera() as camera, Receiver() as receiver:
        broker.start()
        write_colour_graph(folder / "snow.onnx", TAGS[0])
        process = _start(folder, camera, broker, receiver)
        world = World(folder, camera, broker, receiver, process)
        listener = viewer = None
        try:
            listener = Listener(broker.port, "events", "soak/+/event")
            viewer = PageViewer(_page_address(folder / "said.txt"))
            began = time.monotonic()
            while (passed_s := time.monotonic() - began) < 60 * minutes:
                if process.poll() is not None:
                    break
                world.turn(passed_s, pace)
                time.sleep(TICK_S / pace)
            world.calm()
            return _judge(world, listener, viewer, minutes, pace)
        finally:
            for each in (listener, viewer):
                if each is not None:
                    each.close()
            process.kill()
            process.wait()
            broker.stop()


def _start(
    folder: Path, camera: FlappingCamera, broker: Broker, receiver: Receiver
) -> subprocess.Popen[bytes]:
    config = folder / "snow.toml"
    text = CONFIG.format(
        model=folder / "snow.onnx",
        camera=camera.address,
        dwell=DWELL_S,
        broker=broker.port,
        receiver=receiver.address,
        queue=folder / "queue.sqlite",
    )
    config.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "snow_deploy", "run", "--config", str(config)]
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(command, stderr=said)  # noqa: S603 - our own words


def _page_address(said: Path) -> str:
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        found = re.search(r"live page: (\S+)", said.read_text("utf-8", "replace"))
        if found:
            return found[1]
        time.sleep(0.2)
    msg = f"the program did not begin: {said.read_text('utf-8', 'replace')}"
    raise SystemExit(msg)


def _judge(
    world: World, listener: Listener, viewer: PageViewer, minutes: float, pace: float
) -> dict[str, Any]:
    """Wait until all has settled, and say what is not as it should be."""
    _settle(world, listener, viewer)
    told = {number: identity(change) for number, change in viewer.changes.items()}
    last = max(told, default=0)
    faults = [f"the page never showed change {n}" for n in range(1, last + 1) if n not in told]
    for name, events in (("broker", listener.events), ("webhook", world.receiver.events)):
        faults += [f"not at the {name}: {each}" for each in told.values() if each not in events]
    faults += _flaps(viewer.changes) + _kept_wrongly(world, viewer)
    faults += [] if told else ["no state ever changed"]
    alive = world.process.poll() is None
    faults += [] if alive else [f"the program ended with {world.process.returncode}"]
    warm = [each for each in world.memory_mb if each[0] >= 60 * minutes * WARM]
    hours = [pace * seconds / 3600 for seconds, _ in warm]  # of events
    slope = slope_of(hours, [memory for _, memory in warm])
    if minutes * pace >= LONG_MINUTES and slope.low > GROWTH_MB_PER_HOUR:
        faults.append(f"memory grows by {slope.value:.2f} MB an hour")
    world.process.send_signal(signal.SIGTERM)
    _, said = world.process.wait(60), (world.folder / "said.txt").read_text("utf-8", "replace")
    return {
        "minutes": minutes,
        "pace": pace,
        "changes": len(told),
        "by_reason": _counts(viewer.changes),
        "at_the_broker": listener.count,
        "at_the_webhook": world.receiver.count,
        "swaps": world.swaps,
        "memory_mb_by_minute": _by_minute(world.memory_mb),
        "mb_per_hour": [round(each, 2) for each in (slope.value, slope.low, slope.high)],
        "summary": [line for line in said.splitlines() if re.match(r"\w+: \d+$|gate: ", line)],
        "faults": faults,
    }


def _settle(world: World, listener: Listener, viewer: PageViewer) -> None:
    ends = time.monotonic() + SETTLE_S
    quiet, seen = 0.0, -1
    while time.monotonic() < ends and world.process.poll() is None:
        time.sleep(TICK_S)
        told = {identity(each) for each in viewer.changes.values()}
        quiet = quiet + TICK_S if len(told) == seen else 0.0
        seen = len(told)
        if quiet > 10 and told <= listener.events and told <= world.receiver.events:
            return


def _flaps(changes: dict[int, dict[str, Any]]) -> list[str]:
    """Look whether a state lasted less than its time, or began as something that did not end."""
    faults, before = [], {}
    for number in sorted(changes):
        change = changes[number]
        key = change["question"], change.get("label")
        if key in before:
            last = before[key]
            if last["after"] != change["before"] and last["because"] != "gone":
                faults.append(f"{key}: {change['before']} ended, and it was {last['after']}")
            short = change["time"] - last["time"] < DWELL_S - 0.05
            if short and change["because"] == "answers" and change["before"] != "stale":
                faults.append(f"{key}: {change['before']} lasted less than {DWELL_S} s")
        before[key] = change
    return faults


def _kept_wrongly(world: World, viewer: PageViewer) -> list[str]:
    """Compare what the broker keeps with what is so."""
    later = Listener(world.broker.port, f"later-{os.getpid()}", "soak/#")
    time.sleep(5)
    kept = {topic: text for topic, text in later.kept.items() if "/state/" in topic and text}
    later_kept = dict(later.kept)
    later.close()
    expected = {}
    for question, state in viewer.states.items():
        if "labels" in state:
            for label, each in state["labels"].items():
                expected[f"soak/gate/state/{question}/{label}"] = each["state"]
        else:
            expected[f"soak/gate/state/{question}"] = state["state"]
    faults = [] if kept == expected else [f"the broker keeps {kept}, expected {expected}"]
    faults += [
        f"{topic} is {later_kept.get(topic)}, expected online"
        for topic in ("soak/status", "soak/gate/availability")
        if later_kept.get(topic) != "online"
    ]
    if not kept or "stale" in kept.values():
        faults.append(f"at the end the states were {kept}, expected answers")
    return faults


def _counts(changes: dict[int, dict[str, Any]]) -> dict[str, int]:
    reasons = [change["because"] for change in changes.values()]
    return {reason: reasons.count(reason) for reason in sorted(set(reasons))}


def _by_minute(memory_mb: list[tuple[float, float]]) -> list[float]:
    minutes = sorted({int(seconds // 60) for seconds, _ in memory_mb})
    return [
        round(statistics.median(memory for at, memory in memory_mb if at // 60 == minute), 2)
        for minute in minutes
    ]


def _memory_mb(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    sys.exit(main())
