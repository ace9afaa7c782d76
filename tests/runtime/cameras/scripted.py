"""A source that does what a test says, and a clock that does not make it wait."""

from __future__ import annotations

import threading
from typing import Any

from snow_runtime.cameras import Camera, CameraOptions, CameraPicture, LostError
from snow_runtime.cameras.clock import Clock
from tests.runtime.cameras.pictures import numbered

OPTIONS = CameraOptions(open_timeout_s=5, stall_s=5, close_timeout_s=2)


class FastClock(Clock):
    """Real time, but the delays between attempts are written down instead of waited for."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    def pause(self, stop: threading.Event, seconds: float) -> bool:
        self.delays.append(seconds)
        return stop.wait(0.001)


class Script:
    """Makes sources; each of them reads from the same list of steps.

    A step is a number (give that picture), an exception (raise it), None (the end), a function
    (call it; what it gives is the step), or a Picture. After the last step, reads wait until the
    source is interrupted.
    """

    interval_s = 0.0

    def __init__(self, *steps: Any, interval_s: float = 0.0) -> None:
        self.steps = list(steps)
        self.interval_s = interval_s
        self.lock = threading.Lock()
        self.more = threading.Condition(self.lock)
        self.opened = 0
        self.closed = 0
        self.reads = 0

    def __call__(self) -> ScriptedSource:
        return ScriptedSource(self)

    def add(self, *steps: Any) -> None:
        with self.more:
            self.steps += steps
            self.more.notify_all()


class ScriptedSource:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.interval_s = script.interval_s
        self.interrupted = False

    def open(self) -> None:
        with self.script.lock:
            self.script.opened += 1

    def read(self) -> CameraPicture | None:
        with self.script.more:
            self.script.reads += 1
            while not self.script.steps:
                if self.interrupted:
                    msg = "interrupted"
                    raise LostError(msg)
                self.script.more.wait()
            step = self.script.steps.pop(0)
        while callable(step):
            step = step()
        if isinstance(step, BaseException):
            raise step
        return (
            step
            if step is None or isinstance(step, CameraPicture)
            else CameraPicture(numbered(step))
        )

    def interrupt(self) -> None:
        with self.script.more:
            self.interrupted = True
            self.script.more.notify_all()

    def close(self) -> None:
        with self.script.lock:
            self.script.closed += 1


def scripted(
    *steps: Any,
    name: str = "test",
    options: CameraOptions = OPTIONS,
    interval_s: float = 0.0,
    **arguments: Any,
) -> tuple[Camera, Script]:
    script = Script(*steps, interval_s=interval_s)
    arguments.setdefault("clock", FastClock())
    return Camera(script, name=name, options=options, **arguments), script


class Gate:
    """A step that blocks a read until the test opens it, whatever interrupts: a hung library."""

    def __init__(self, then: Any = None) -> None:
        self.then = then
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> Any:
        self.entered.set()
        assert self.opened.wait(30)
        return self.then
