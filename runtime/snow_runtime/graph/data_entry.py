"""The pictures that a task was trained and measured on, as a manifest has them: hashes alone.

A manifest goes to devices, so that neither paths nor labels of single pictures are in it. What is
here says whether pictures are split as they were, for whoever has the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document
from snow_runtime.graph.field_checks import Positive, Sha256

SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True)
class SplitEntry(Document):
    """One split.

    Attributes:
        sha256: SHA-256 of the pictures' paths, from the folder that the whole data is in, and
            labels.
        pictures: How many there are.
    """

    prefix: ClassVar[str] = "a split's "

    sha256: Sha256
    pictures: Positive


@dataclass(frozen=True)
class DataEntry(Document):
    """A task's data.

    Attributes:
        sha256: SHA-256 of which pictures are in which split.
        seed: Seed that the task was trained with; it splits data that has no splits of its own.
        splits: The splits by name, ``train``, ``val`` and ``test``; empty where the task is from
            before they were noted one by one.
    """

    prefix: ClassVar[str] = "data."

    sha256: Sha256
    seed: int
    splits: dict[str, SplitEntry] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.splits:
            field_checks.choice("a name in data.splits", name, SPLITS)

    @property
    def measured(self) -> SplitEntry | None:
        """The split that the task's accuracy was measured on: test, else val."""
        return self.splits.get("test", self.splits.get("val"))
