"""Documents that a publisher signed, by The Update Framework's client (python-tuf)."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from snow_runtime.errors import ManifestError
from snow_runtime.files import sync_folder
from snow_runtime.update.errors import AbsentError, UnreachableError, UntrustedError
from snow_runtime.update.floor import Floor, moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tuf.api.metadata import TargetFile

    from snow_runtime.update.transport import Transport

ISSUED: Final = "x-issued"
"""Field of the timestamp's metadata: when it was signed, in UTC."""
METADATA: Final = "metadata"
TARGETS: Final = "targets"
_ABSENT: Final = 404
_LARGEST_DOCUMENT_BYTES: Final = 1 << 24
_ROLES: Final = ("root", "timestamp", "snapshot", "targets")
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validity:
    """How long what was read is valid.

    Attributes:
        floor: The newest that was seen.
        expires: When the first of the metadata expires, in UTC.
    """

    floor: Floor
    expires: str


class SignedDocuments:
    """Reads a publication's documents; what is not signed as it must be is refused.

    Args:
        folder: Folder for the metadata, which is kept from one time to the next.
        transport: Where the publication lies.
        root: The metadata of the root role that is trusted from the beginning.
        floor: The newest that was seen.
        now: The present time; None for the clock's.

    Raises:
        UntrustedError: The root is none.
    """

    def __init__(
        self,
        folder: Path,
        transport: Transport,
        root: bytes,
        floor: Floor,
        now: datetime | None = None,
    ) -> None:
        self._folder = folder
        self._floor = floor
        self._now = now or datetime.now(timezone.utc)
        self._where = transport.shown
        self._names: set[str] = set()
        (folder / TARGETS).mkdir(parents=True, exist_ok=True)
        try:
            self._updater = Updater(
                str(folder),
                METADATA,
                str(folder / TARGETS),
                TARGETS,
                fetcher=_Fetcher(transport),
                config=UpdaterConfig(root_max_length=1 << 17, targets_max_length=1 << 22),
                bootstrap=root,
            )
        except exceptions.RepositoryError as error:
            msg = (
                f"The root that this box trusts cannot be used: {error}. Copy 1.root.json of the "
                "publication to the box again, from where you trust it."
            )
            raise UntrustedError(msg) from error

    def refresh(self) -> Validity:
        """Read the metadata.

        Raises:
            UnreachableError: The publication cannot be read now.
            UntrustedError: It is not signed as it must be, older than what was seen, or expired.
        """
        try:
            self._updater.refresh()
        except (exceptions.DownloadError, exceptions.RepositoryError) as error:
            raise self._refusal(error) from error
        sync_all(self._folder)
        return self._above_floor()

    def digest(self, path: str) -> str | None:
        """Return the SHA-256 of a target; None where there is none of this name.

        Raises:
            UnreachableError: The publication cannot be read now.
            UntrustedError: It has no SHA-256, or is larger than a document may be.
        """
        found = self._find(path)
        return None if found is None else found.hashes["sha256"]

    def read(self, path: str) -> bytes:
        """Read a target; one that was read before comes from the box's own folder.

        Raises:
            UnreachableError: The publication cannot be read now.
            UntrustedError: It does not hold what was signed.
        """
        found = self._find(path)
        if found is None:
            msg = (
                f"The publication has no {path}, which it names itself. The publisher has to "
                "publish it anew."
            )
            raise UntrustedError(msg)
        self._names.add(quote(path, ""))  # as the client calls its file
        try:
            at = self._updater.find_cached_target(found)
            at = at or self._updater.download_target(found)
        except (exceptions.DownloadError, exceptions.RepositoryError) as error:
            raise self._refusal(error) from error
        with open(at, "rb") as stream:  # noqa: PTH123 - a text, as tuf gives it
            content = stream.read()
        try:
            found.verify_length_and_hashes(content)
        except exceptions.RepositoryError as error:
            raise self._refusal(error) from error
        return content

    def forget_others(self) -> None:
        """Delete documents that were read at other times, and what a killed process left."""
        for path in (self._folder / TARGETS).iterdir():
            if path.name not in self._names:
                path.unlink(missing_ok=True)
        for path in self._folder.glob("tmp*"):  # as the client names files that are not whole
            path.unlink(missing_ok=True)

    def _find(self, path: str) -> TargetFile | None:
        try:
            found = self._updater.get_targetinfo(path)
        except (exceptions.DownloadError, exceptions.RepositoryError) as error:
            raise self._refusal(error) from error
        if found is None:
            return None
        if "sha256" not in found.hashes or found.length > _LARGEST_DOCUMENT_BYTES:
            fault = f"has {found.length} bytes" if "sha256" in found.hashes else "has no SHA-256"
            msg = (
                f"The publication's {path} {fault}, expected a SHA-256 and at most "
                f"{_LARGEST_DOCUMENT_BYTES} bytes. The publisher has to publish it anew."
            )
            raise UntrustedError(msg)
        return found

    def _above_floor(self) -> Validity:
        """Compare what the client took with the newest that was seen."""
        signed: dict[str, Any] = {
            role: Metadata.from_file(str(self._folder / f"{role}.json")).signed for role in _ROLES
        }
        roles = signed["root"].roles
        floor = self._floor.under(roles)
        versions = {role: signed[role].version for role in _ROLES[1:]}
        for role, version in versions.items():
            seen = getattr(floor, role)
            if version < seen:
                msg = f"its {role} has version {version}, and {seen} was seen before"
                raise self._untrusted(msg)
        issued = max(datetime.fromisoformat(floor.issued), self._issued(signed["timestamp"]))
        first = min(each.expires for each in signed.values())
        if first <= max(issued, self._now):
            msg = (
                f"it expired {first.isoformat()}, and {max(issued, self._now).isoformat()} is past"
            )
            raise self._untrusted(msg)
        newest = Floor(
            **versions,
            issued=issued.isoformat(),
            timestamp_keys=tuple(sorted(roles["timestamp"].keyids)),
            snapshot_keys=tuple(sorted(roles["snapshot"].keyids)),
        )
        return Validity(newest, first.isoformat())

    def _issued(self, timestamp: Any) -> datetime:
        """Return when a timestamp was signed, by what it says itself; long ago where it does not.

        Raises:
            UntrustedError: What it says is no moment.
        """
        given = timestamp.unrecognized_fields.get(ISSUED, Floor().issued)
        try:
            return datetime.fromisoformat(moment(ISSUED, given))
        except ManifestError as error:
            raise self._untrusted(error.finding or str(error)) from error

    def _refusal(self, error: Exception) -> UnreachableError | UntrustedError:
        if isinstance(error, exceptions.DownloadLengthMismatchError):
            return self._untrusted("a file is longer than was signed")
        if isinstance(error, exceptions.DownloadError):
            cause = error.__cause__
            if isinstance(cause, UnreachableError):
                return type(cause)(str(cause))  # itself is a cause of what it would be raised from
            return UnreachableError(f"{self._where} cannot be read: {error}. It is tried again.")
        if isinstance(error, exceptions.ExpiredMetadataError):
            return self._untrusted(
                f"{error}, and the clock here says {self._now.isoformat(timespec='seconds')}"
            )
        return self._untrusted(str(error))

    def _untrusted(self, why: str) -> UntrustedError:
        return UntrustedError(
            f"What {self._where} publishes is refused: {why.rstrip('.')}. Nothing of it is used. "
            "The publisher has to refresh or repair it; look at this box's clock too."
        )


def check_root(content: bytes, path: Path) -> None:
    """Look whether a file can be trusted as a root: it is one, and its own keys signed it.

    Raises:
        UntrustedError: It is none.
    """
    try:
        metadata = Metadata[Root].from_bytes(content)
        root = metadata.signed
        if not isinstance(root, Root):
            root = Root()  # which nobody has signed
        root.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    except exceptions.RepositoryError as error:
        msg = (
            f"{path} is no root of a publication: {error}. Copy its metadata/1.root.json to the "
            "box, and give that."
        )
        raise UntrustedError(msg) from error


def sync_all(folder: Path) -> None:
    """Have the disk hold a folder's files as they are now."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)


class _Fetcher(FetcherInterface):
    """Hands the client the files that a transport reads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield from self._transport.read(url)
        except AbsentError as error:
            raise exceptions.DownloadHTTPError(str(error), _ABSENT) from error
        except UnreachableError as error:
            raise exceptions.DownloadError(str(error)) from error
