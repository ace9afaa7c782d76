"""How much a server gives to its clients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What clients may take, so that none of them takes all.

    Attributes:
        connections: Most connections that are open at a time; a new one takes the place of one that
            asks for nothing.
        viewers: Most viewers that follow the events at a time.
        head_bytes: Largest size of a request line with its headers.
        body_bytes: Largest size of what is posted.
        request_s: Longest time from a connection's begin, or its last answer, to a request that is
            whole.
        write_s: Longest time until a client has taken what was written.
    """

    connections: int = 64
    viewers: int = 32
    head_bytes: int = 16 << 10
    body_bytes: int = 4 << 10
    request_s: float = 60.0
    write_s: float = 10.0
