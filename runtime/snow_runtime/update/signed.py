"""Documents that a publisher signed, by The Update Framework's client (python-tuf)."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from tuf.api import exceptions
from tuf.api.metadata import Metadata
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from snow_runtime.files import sync_folder
from snow_runtime.update.errors import AbsentError, UnreachableError, UntrustedError
from snow_runtime.update.floor import Floor, moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.update.transport import Transport

ISSUED: Final = "x-issued"
"""Field of the timestamp's metadata: when it was signed, in UTC."""
METADATA: Final = "metadata"
TARGETS: Final = "targets"
_ABSENT: Final = 404
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
            UntrustedError: It has no SHA-256.
        """
        found = self._updater.get_targetinfo(path)
        if found is None:
            return None
        if "sha256" not in found.hashes:
            msg = f"The publication gives {path} no SHA-256. The publisher has to publish it anew."
            raise UntrustedError(msg)
        return found.hashes["sha256"]

    def read(self, path: str) -> bytes:
        """Read a target; one that was read before comes from the box's own folder.

        Raises:
            UnreachableError: The publication cannot be read now.
            UntrustedError: It does not hold what was signed.
        """
        found = self._updater.get_targetinfo(path)
        if found is None:
            msg = (
                f"The publication has no {path}, which it names itself. The publisher has to "
                "publish it anew."
            )
            raise UntrustedError(msg)
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

    def _above_floor(self) -> Validity:
        """Compare what the client took with the newest that was seen."""
        signed: dict[str, Any] = {
            role: Metadata.from_file(str(self._folder / f"{role}.json")).signed
            for role in ("timestamp", "snapshot", "targets")
        }
        for role, each in signed.items():
            seen = getattr(self._floor, role)
            if each.version < seen:
                msg = f"its {role} has version {each.version}, and {seen} was seen before"
                raise self._untrusted(msg)
        first = min(each.expires for each in signed.values())
        known = datetime.fromisoformat(self._floor.issued)
        if first <= max(known, self._now):
            msg = f"it expired {first.isoformat()}, and {max(known, self._now).isoformat()} is past"
            raise self._untrusted(msg)
        given = signed["timestamp"].unrecognized_fields.get(ISSUED, self._floor.issued)
        issued = max(known, datetime.fromisoformat(moment(ISSUED, given)))
        versions = {role: each.version for role, each in signed.items()}
        return Validity(Floor(**versions, issued=issued.isoformat()), first.isoformat())

    def _refusal(self, error: Exception) -> UnreachableError | UntrustedError:
        if isinstance(error, exceptions.DownloadLengthMismatchError):
            return self._untrusted("a file is longer than was signed")
        if isinstance(error, exceptions.DownloadError):
            cause = error.__cause__
            if isinstance(cause, UnreachableError):
                return cause
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
