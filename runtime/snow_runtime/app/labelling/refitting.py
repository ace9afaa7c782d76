"""What the page needs of whatever fits readouts on the box, where there is something that does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Refitting(Protocol):
    """Fits a question's readout after its labels have changed, and says how good each one is."""

    def request(self, question: str) -> None:
        """Fit soon: labels have changed."""
        ...

    def status(self, question: str) -> Mapping[str, Any]:
        """Say what goes on, as plain JSON values."""
        ...

    def report(self, question: str) -> Mapping[str, Any]:
        """Say how good the newest fit is, as plain JSON values."""
        ...

    def versions(self, question: str) -> Sequence[Any]:
        """Return all fits of a question."""
        ...

    def go_back(self, question: str, number: int) -> object:
        """Let an earlier version answer.

        Raises:
            SnowError: There is none of this number, or it cannot be used.
        """
        ...

    def shadow(self, question: str, number: int, seconds: float) -> object:
        """Let a version answer beside the live one for a while.

        Raises:
            SnowError: There is none of this number, or it cannot be used.
        """
        ...
