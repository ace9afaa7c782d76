from __future__ import annotations

import pytest

from snow_runtime.closing import Closing


class Door(Closing):
    def __init__(self) -> None:
        self.closed: int = 0

    def close(self) -> None:
        self.closed += 1


def test_leaving_a_with_statement_closes_whatever_was_raised_in_it() -> None:
    with Door() as door:
        assert not door.closed
    once = door.closed

    with pytest.raises(KeyError, match="lost"), door:
        raise KeyError("lost")  # noqa: EM101
    assert (once, door.closed) == (1, 2)


def test_what_cannot_be_closed_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Closing()  # type: ignore[abstract]
