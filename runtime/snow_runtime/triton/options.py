"""What a model of a Triton repository is to be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from snow_runtime.errors import InputError

Form = Literal["onnxruntime", "tensorrt", "python"]
"""Triton's backend: the graph alone, the engine alone, or either behind pictures as they are."""
Device = Literal["cpu", "gpu"]

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LARGEST: Final = {"version": 2**31 - 1, "max_batch": 4096, "instances": 64, "threads": 1024}
_LONGEST_DELAY_MS: Final = 60_000


@dataclass(frozen=True)
class TritonOptions:
    """What a model of a Triton repository is to be.

    Attributes:
        name: Name that clients ask for; None for the file's.
        version: Number of the version; None for one more than the highest that is there.
        form: Triton's backend; None for `onnxruntime` of a graph, `tensorrt` of an engine.
        max_batch: The most pictures that Triton puts together; None for 8, or what an engine takes.
        instances: How many copies work side by side on each device; None for 1.
        threads: CPU threads of each copy of a graph; None leaves it to ONNX Runtime, which takes
            all cores.
        device: Where they work; None leaves a graph's to Triton, which takes a GPU where it is.
        queue_delay_ms: How long a request may wait for others, in milliseconds; None for 0.
        warm_up: Whether Triton runs it once before it says that it is ready; None for yes.

    Raises:
        InputError: A value is out of range, or a name that Triton or a file system refuses.
    """

    name: str | None = None
    version: int | None = None
    form: Form | None = None
    max_batch: int | None = None
    instances: int | None = None
    threads: int | None = None
    device: Device | None = None
    queue_delay_ms: float | None = None
    warm_up: bool | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            check_model_name(self.name)
        for field, most in _LARGEST.items():
            value = getattr(self, field)
            if value is not None and not 1 <= value <= most:
                option = field.replace("_", "-")
                msg = f"--{option} is {value}, expected a whole number from 1 to {most}. Change it."
                raise InputError(msg)
        delay = self.queue_delay_ms
        if delay is not None and not 0 <= delay <= _LONGEST_DELAY_MS:
            msg = f"--queue-delay is {delay}, expected 0 to {_LONGEST_DELAY_MS} ms. Change it."
            raise InputError(msg)


def check_model_name(name: str) -> str:
    """Return a model's name, which is a folder's and a part of addresses too.

    Raises:
        InputError: It has signs that one of these does not take.
    """
    if not _NAME.fullmatch(name):
        msg = (
            f"A model of Triton cannot be called {name!r}: expected a letter, digit or _, then up "
            "to 127 letters, digits, _, - and dots. Give another --name."
        )
        raise InputError(msg)
    return name
