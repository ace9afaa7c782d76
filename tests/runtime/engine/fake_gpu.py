"""A GPU's memory and streams, strict about what a real one forgives; see `fake_cuda`."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

GPU = 1 << 60  # added to Python's address of memory, it is the GPU's
ALIGNMENT = 256  # bytes; the driver promises as much
POISON = 0xFF  # fills memory that is new or freed; four such bytes are NaN

T = TypeVar("T")


class Handle:
    """An opaque number, which is all that the driver gives for a stream or an event."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __int__(self) -> int:
        return self.number


@dataclass
class Work:
    """What the GPU does, to which memory, and what is wrong if it is launched again later."""

    do: Callable[[], None]
    addresses: tuple[int, ...] = ()
    complaint: Callable[[], str] = str


@dataclass
class Stream:
    waiting: list[Work] = field(default_factory=list)
    put: int = 0
    captured: list[Work] | None = None
    thread: int = 0
    valid: bool = True


@dataclass
class Event:
    stream: Stream | None = None
    put: int = 0


@dataclass
class Graph:
    work: list[Work]


@dataclass
class GraphExec:
    work: list[Work]


class FakeGpu:
    """Memory, streams and the threads that use them.

    Attributes:
        misuse: What was refused; it counts even if the code under test caught the error.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.misuse: list[str] = []
        self.retained = 0
        self.current: defaultdict[int, list[str]] = defaultdict(list)  # by thread
        self.pinned: dict[int, bool] = {}  # by Python's address, whether the GPU sees it
        self._memory: dict[int, NDArray[np.uint8]] = {}  # by the GPU's address
        self._freed: list[NDArray[np.uint8]] = []
        self._objects: dict[int, object] = {}
        self._number = 4096

    def live(self) -> dict[str, int]:
        """Count what is not freed, and how often the context is current."""
        kinds = Counter(type(thing).__name__ for thing in self._objects.values())
        kinds.update(memory=len(self._memory), context=self.retained)
        kinds.update(current=sum(map(len, self.current.values())))
        return {kind: count for kind, count in kinds.items() if count}

    def check(self) -> None:
        """Fail if anything was misused, or freed memory written to."""
        assert self.misuse == []
        assert all((memory == POISON).all() for memory in self._freed)

    def refuse(self, what: str) -> NoReturn:
        self.misuse.append(what)
        raise AssertionError(what)

    def need_context(self, what: str) -> None:
        if not self.current[threading.get_ident()]:
            self.refuse(f"{what} without a current context")

    # ---------------------------------------------------------------------------------- handles

    def add(self, thing: object) -> Handle:
        self._number += 1
        self._objects[self._number] = thing
        return Handle(self._number)

    def get(self, handle: Any, kind: type[T]) -> T:
        thing = self._objects.get(int(handle))
        if not isinstance(thing, kind):
            self.refuse(f"{kind.__name__} {int(handle)} is used, but not there")
        return thing

    def remove(self, handle: Any, kind: type[T]) -> T:
        thing = self.get(handle, kind)
        del self._objects[int(handle)]
        return thing

    def stream(self, handle: Any) -> Stream:
        if int(handle) == 0:
            self.refuse("use of the default stream")
        return self.get(handle, Stream)

    # ----------------------------------------------------------------------------------- memory

    def allocate(self, size_bytes: int) -> int:
        """Return the GPU's address of new memory."""
        if size_bytes < 1:
            self.refuse(f"allocation of {size_bytes} B")
        roomy = np.full(size_bytes + ALIGNMENT, POISON, np.uint8)
        start = -int(roomy.ctypes.data) % ALIGNMENT
        memory = roomy[start : start + size_bytes]
        address = int(memory.ctypes.data) + GPU
        self._memory[address] = memory
        return address

    def release(self, address: int) -> None:
        memory = self._memory.get(address)
        if memory is None:
            self.refuse(f"memory at {address:#x} is freed, but not there")
        inside = range(address, address + memory.size)
        for stream in self._streams():
            if any(at in inside for work in stream.waiting for at in work.addresses):
                self.refuse(f"memory at {address:#x} is freed while work on it is under way")
        del self._memory[address]
        memory[:] = POISON
        self._freed.append(memory)

    def find(self, address: int, size_bytes: int = 1) -> tuple[int, NDArray[np.uint8]]:
        """Return where live memory begins, and the part of it at an address."""
        for start, memory in self._memory.items():
            if start <= address and address + size_bytes <= start + memory.size:
                return start, memory[address - start : address - start + size_bytes]
        return self.refuse(f"{size_bytes} B at {address:#x} are no memory, or freed")

    def see(self, address: int, size_bytes: int = 1) -> NDArray[np.uint8]:
        """Show memory to the GPU."""
        start, memory = self.find(address, size_bytes)
        if not self.pinned.get(start - GPU, True):
            self.refuse(f"pinned memory at {address:#x} is not mapped")
        return memory

    def see_pinned(self, pointer: int, size_bytes: int) -> NDArray[np.uint8]:
        """Show pinned memory at Python's address."""
        start, memory = self.find(pointer + GPU, size_bytes)
        if start - GPU not in self.pinned:
            self.refuse(f"memory at {pointer:#x} is not pinned")
        return memory

    # ------------------------------------------------------------------------------------- work

    def put(self, handle: Any, work: Work) -> None:
        """Put work into a stream, or into the graph that it is captured for."""
        stream = self.stream(handle)
        for address in work.addresses:
            self.find(address)
        if stream.captured is not None:
            stream.captured.append(work)
        else:
            stream.waiting.append(work)
            stream.put += 1

    def finish(self, stream: Stream, put: int) -> None:
        """Do a stream's work, up to the piece of that number."""
        while stream.waiting and stream.put - len(stream.waiting) < put:
            stream.waiting[0].do()
            del stream.waiting[0]

    def under_way(self) -> bool:
        """Whether any stream has work left."""
        return any(stream.waiting for stream in self._streams())

    def captures_here(self) -> bool:
        """Whether this thread captures."""
        here = threading.get_ident()
        return any(it.captured is not None and it.thread == here for it in self._streams())

    def _streams(self) -> list[Stream]:
        return [thing for thing in self._objects.values() if isinstance(thing, Stream)]
