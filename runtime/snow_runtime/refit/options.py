"""How readouts are fitted anew on the box."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RefitOptions:
    """How readouts are fitted anew.

    Attributes:
        quiet_s: Time without another label, in seconds, after which a question is fitted;
        most_wait_s: or this long after the first label, in seconds, if they go on coming.
        memory_bytes: Largest memory of the process that fits; 0: no bound.
        most_s: Longest time of a fit, in seconds.
        tick_s: Time between two looks at a fit under way, in seconds.
        look_s: Time between two looks at the collection, in seconds.
    """

    quiet_s: float = 2.0
    most_wait_s: float = 15.0
    memory_bytes: int = 1 << 30
    most_s: float = 900.0
    tick_s: float = 0.1
    look_s: float = 2.0
