"""Older releases taken off a publication, with all files that no other one needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_deploy.fleet.errors import PublishError
from snow_deploy.fleet.publication import PUBLISHER, with_hash
from snow_runtime.update.signed import TARGETS
from snow_runtime.update.wanted import release_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from snow_deploy.fleet.publication import Publication
    from snow_runtime.update.release import Release


@dataclass(frozen=True)
class PrunedReleases:
    """What was taken off.

    Attributes:
        names: Names of releases, the newest first.
        files: Number of files that were deleted.
        size_bytes: Size of these files.
    """

    names: tuple[str, ...]
    files: int
    size_bytes: int


def bill_path(name: str) -> str:
    """Return the signed name of a release's bill of materials."""
    return f"bills/{name}.cdx.json"


def prune(publication: Publication, keep: int) -> PrunedReleases:
    """Take releases off a publication, but for the newest and those that boxes are to have.

    It is signed first that they are published no more, and their files go afterwards. A box that
    was about to read one of these finds it gone, looks again, and takes what it is to have now.

    Args:
        publication: The publication.
        keep: How many of the newest releases stay, 1 or more.

    Raises:
        PublishError: Something waits for signatures, or keys are missing.
    """
    if any(publication.signed.waiting(role) is not None for role in ("targets", "snapshot")):
        msg = (
            "Something waits for signatures, and its files are not to go. Sign it ('snow-deploy "
            "publish sign'), or drop it (with --discard)."
        )
        raise PublishError(msg)
    releases, rollout = publication.releases(), publication.rollout()
    needed = {rollout.settled, rollout.coming} | {each.name for each in releases[:keep]}
    gone = [each.name for each in releases if each.name not in needed]
    if gone:
        publication.withdraw([path(name) for name in gone for path in (release_path, bill_path)])
    files = list(_unnamed(publication, [each for each in releases if each.name in needed]))
    size = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink()
    return PrunedReleases(tuple(gone), len(files), size)


def _unnamed(publication: Publication, releases: Sequence[Release]) -> Iterator[Path]:
    """Yield files that nothing names any more."""
    blobs = {
        blob.sha256 for release in releases for piece in release.pieces for blob in piece.blobs
    }
    yield from (path for path in publication.blobs.iterdir() if path.name not in blobs)
    targets = publication.signed.newest("targets").signed.targets
    folder = publication.folder / TARGETS
    named = {folder / with_hash(path, entry.hashes["sha256"]) for path, entry in targets.items()}
    yield from (path for path in folder.rglob("*") if path.is_file() and path not in named)
    names = {each.name for each in releases}
    places = (publication.folder / PUBLISHER).glob("*.json")
    yield from (path for path in places if path.stem not in names)
    yield from publication.signed.old_versions()
