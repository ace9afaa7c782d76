"""Which source a network was built on: kept beside it, but no part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snow_deploy.models.source import Source


@dataclass(frozen=True, eq=False)
class BuiltOn:
    """A source that a network refers to.

    Copies of the network refer to the same one, and where it is pickled, as for another process,
    only the fingerprint goes along.

    Attributes:
        source: The source; None where it was left behind.
        fingerprint: Its SHA-256 (hex).
    """

    source: Source | None
    fingerprint: str

    def __deepcopy__(self, memo: dict[int, Any]) -> BuiltOn:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return BuiltOn, (None, self.fingerprint)
