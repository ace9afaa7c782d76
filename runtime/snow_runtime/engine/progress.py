"""How far a build is, and stopping it.

TensorRT reports nested phases, each of a number of steps. Python sees Ctrl-C only when TensorRT
calls back; the callback then says no, TensorRT gives up, and the build ends as an interruption.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from snow_runtime.progress import ProgressCallback


@dataclass
class _Phase:
    name: str
    steps: int
    parent: _Phase | None
    done: int = 0


@dataclass
class BuildProgress:
    """What a build's phases come to.

    Attributes:
        progress: Callback that gets the phase and the share of the whole, which never falls.
        interrupted: Whether the build is to stop at the next step.
        failure: What `progress` failed with; TensorRT would swallow it.
    """

    progress: ProgressCallback | None = None
    interrupted: bool = False
    failure: Exception | None = None
    _phases: dict[str, _Phase] = field(default_factory=dict)
    _share: float = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Hear that a phase has begun."""
        self._phases[name] = _Phase(name, max(1, steps), self._phases.get(parent or ""))
        self._report(name)

    def step(self, name: str, step: int) -> bool:
        """Hear that step number `step` of a phase is done; return whether to go on."""
        phase = self._phases.get(name)
        if phase is not None:
            phase.done = min(step + 1, phase.steps)
            self._report(name)
        return not self.interrupted

    def finish(self, name: str) -> None:
        """Hear that a phase has ended."""
        phase = self._phases.pop(name, None)
        if phase is not None and phase.parent is None:
            self._share = 1.0
            self._report(name)

    def monitor(self, module: Any) -> Any:
        """Make the object that TensorRT calls back."""
        build = self

        class Monitor(module.IProgressMonitor):  # type: ignore[misc] # untyped
            def __init__(self) -> None:
                module.IProgressMonitor.__init__(self)

            def phase_start(
                self, phase_name: str, parent_phase: str | None, num_steps: int
            ) -> None:
                build.start(phase_name, parent_phase, num_steps)

            def phase_finish(self, phase_name: str) -> None:
                build.finish(phase_name)

            def step_complete(self, phase_name: str, step: int) -> bool:
                return build.step(phase_name, step)

        return Monitor()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C stop the build; in other threads than the main one it cannot be seen.

        Raises:
            KeyboardInterrupt: At the end of the block, if it was pressed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            del number, frame
            self.interrupted = True

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        if self.failure is not None:
            raise self.failure
        if self.interrupted:
            raise KeyboardInterrupt

    def _report(self, name: str) -> None:
        phase = self._phases.get(name)
        if phase is not None:
            self._share = max(self._share, _share(phase))
        if self.progress is None or self.failure is not None:
            return
        try:
            self.progress(name, self._share)
        except Exception as error:  # noqa: BLE001 - raised again when TensorRT has given up
            self.failure, self.interrupted = error, True


def _share(phase: _Phase) -> float:
    """Give the share of the whole that is done when this phase is where it is."""
    share = phase.done / phase.steps
    while phase.parent is not None:
        phase = phase.parent
        share = (phase.done + min(share, 1.0)) / phase.steps
    return min(share, 1.0)
