"""Answers as lines of JSON, or nowhere; and what every output is to the loop."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from snow_runtime.app.outputs.non_blocking import NonBlockingWriter, descriptor_of
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from snow_runtime.app.answers import FrameAnswer
    from snow_runtime.app.states.event import StateNews


class Output(Protocol):
    """Takes answers."""

    def put(self, answer: FrameAnswer) -> None:
        """Hand over one answer; what cannot be handed over is counted, not raised."""

    def close(self) -> None:
        """Hand over what still waits, within a second, and let go."""


@runtime_checkable
class StateOutput(Protocol):
    """What an output has that takes news of states too."""

    def tell(self, news: StateNews) -> None:
        """Hand over what has changed; what cannot be handed over is counted, not raised."""


class NullOutput:
    """Drops every answer: for the page and the metrics alone."""

    def put(self, answer: FrameAnswer) -> None:
        """Drop it."""

    def close(self) -> None:
        """Do nothing."""


class JsonLines:
    """Writes one line of JSON for each answer and each event, whole lines only.

    A reader that is slow holds the loop up for half a second; as long as it reads nothing after
    that, answers are lost at once. What a full disk refuses is lost, and the next one tried.

    Args:
        count: Callback that gets `stdout_lost` for each line that was not taken.
        stream: Stream to write to; standard output by default.
        patience_s: How long to wait for the reader, in seconds.
        answers: Whether answers are written; events are in any case.

    Raises:
        InputError: There is no standard output.
    """

    def __init__(
        self,
        count: Callable[[str], None],
        stream: TextIO | None = None,
        patience_s: float = 0.5,
        *,
        answers: bool = True,
    ) -> None:
        found: TextIO | None = stream or sys.stdout
        if found is None:
            msg = (
                "Standard output is closed, expected an open one for the answers. Give "
                "--output none, or do not close it."
            )
            raise InputError(msg)
        self._count = count
        self._answers = answers
        self._stream = found
        descriptor = descriptor_of(found)
        self._pipe = None if descriptor is None else NonBlockingWriter(descriptor, patience_s)

    def put(self, answer: FrameAnswer) -> None:
        """Write a line."""
        if self._answers:
            self._put_line(answer.to_dict())

    def tell(self, news: StateNews) -> None:
        """Write a line for each event."""
        for _, message in news.messages:
            self._put_line(message)

    def close(self) -> None:
        """Leave the stream open: it is not ours."""
        if self._pipe is not None:
            self._pipe.finish()

    def _put_line(self, values: dict[str, Any]) -> None:
        if not self._write(json.dumps(values) + "\n"):
            self._count("stdout_lost")

    def _write(self, line: str) -> bool:
        if self._pipe is not None:
            return self._pipe.write(line.encode())
        try:
            self._stream.write(line)
        except (OSError, ValueError):  # ValueError: the stream was closed
            return False
        return True
