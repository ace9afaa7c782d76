"""What a box is to run, out of the publication's signed documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snow_runtime.update.box import generation_of
from snow_runtime.update.errors import UntrustedError
from snow_runtime.update.release import Release, read_document
from snow_runtime.update.rollout import Rollout
from snow_runtime.update.signed import SignedDocuments

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.update.box import Box
    from snow_runtime.update.floor import Floor
    from snow_runtime.update.transport import Transport

ROLLOUT: Final = "rollout.json"
"""Signed name of the document that says which release boxes are to have."""


def release_path(name: str) -> str:
    """Return the signed name of a release's document."""
    return f"releases/{name}.json"


@dataclass(frozen=True)
class WantedRelease:
    """A release that a box is to run.

    Attributes:
        release: The release.
        record: Its document, as it was signed.
        generation: Name of its generation.
    """

    release: Release
    record: bytes
    generation: str


class ReleaseReader:
    """Reads the documents of one moment.

    Args:
        box: Folder of the box.
        transport: Where the publication lies.
        root: File of the root that is trusted from the beginning; None for the one that is kept.
        floor: The newest metadata that was seen.

    Attributes:
        validity: How long what was read is valid.

    Raises:
        UpdateError: The publication cannot be read, or is refused; or the box trusts nobody yet.
    """

    def __init__(self, box: Box, transport: Transport, root: Path | None, floor: Floor) -> None:
        self._documents = SignedDocuments(box.metadata, transport, box.root(root), floor)
        self.validity = self._documents.refresh()

    def rollout(self) -> Rollout:
        """Return which release boxes are to have.

        Raises:
            UpdateError: It cannot be read, or is refused.
        """
        return read_document(Rollout, self._documents.read(ROLLOUT), "rollout")

    def release(self, name: str) -> WantedRelease:
        """Return a release.

        Raises:
            UpdateError: It cannot be read, or is refused.
        """
        record = self._documents.read(release_path(name))
        digest = self._documents.digest(release_path(name)) or ""
        self._documents.forget_others()
        release = read_document(Release, record, "release")
        if release.name != name:
            msg = f"The release {name} calls itself {release.name}. Publish it anew."
            raise UntrustedError(msg)
        return WantedRelease(release, record, generation_of(release, digest))
