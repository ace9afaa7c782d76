"""Metadata by The Update Framework in a folder: read, signed, and written where enough signed.

What fewer have signed than have to can wait beside it for the others.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from tuf.api import exceptions
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from snow_deploy.fleet.errors import NotSignedYetError, PublishError
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from snow_deploy.fleet.keys import Signing

DAYS: Final[Mapping[str, int]] = {"root": 730, "targets": 365, "snapshot": 365, "timestamp": 14}
"""How long each role's metadata are valid, unless something else is asked for."""
X_DAYS: Final = "x-days"
"""Field of the root: the days that were asked for."""
HASHES: Final = ["sha256"]
KINDS: Final[Mapping[str, Any]] = {
    "root": Root,
    "targets": Targets,
    "snapshot": Snapshot,
    "timestamp": Timestamp,
}
_VERSIONS_KEPT: Final = 3  # a box that reads meanwhile finds what it was told of


class SignedFolder:
    """The metadata of a publication.

    Args:
        folder: Where they lie.
        waiting: Where those lie that wait for signatures; it need not be there.
        signing: Keys that sign, and how.
    """

    def __init__(self, folder: Path, waiting: Path, signing: Signing) -> None:
        self.folder = folder
        self._waiting = waiting
        self._signing = signing

    @property
    def now(self) -> datetime:
        """The present time."""
        return self._signing.now or datetime.now(timezone.utc)

    def root(self) -> Root:
        """Return what the root's metadata say.

        Raises:
            PublishError: This is no publication.
        """
        root: Root = self.newest("root").signed
        return root

    def newest(self, role: str) -> Any:
        """Return the newest metadata of a role.

        Raises:
            PublishError: There are none.
        """
        path = self.folder / "timestamp.json"
        if role != "timestamp":
            found = {int(it.name.split(".")[0]): it for it in self.folder.glob(f"*.{role}.json")}
            path = found[max(found)] if found else self.folder / f"1.{role}.json"
        return _read(path, f"{self.folder.parent} is no publication, or a damaged one")

    def following(self, role: str) -> Any:
        """Return what a role says, with the next version; its beginning where it says nothing.

        Raises:
            PublishError: This is no publication.
        """
        there = role == "timestamp" and (self.folder / "timestamp.json").is_file()
        if not there and not any(self.folder.glob(f"*.{role}.json")):
            self.root()  # where there is none, this is no publication
            return KINDS[role]()
        signed = self.newest(role).signed
        signed.version += 1
        return signed

    def file_of(self, role: str) -> MetaFile:
        """Return version, length and hash of a role's newest metadata, for those above it."""
        version = self.newest(role).signed.version
        content = (self.folder / f"{version}.{role}.json").read_bytes()
        return MetaFile.from_data(version, content, HASHES)

    def write(self, role: str, signed: Any) -> None:
        """Sign metadata, and write them if boxes would take them.

        Raises:
            PublishError: Keys are missing.
            NotSignedYetError: They wait for other people's.
        """
        root = self.root()
        self._save(role, signed, [root])

    def write_root(self, root: Root, before: Root | None) -> None:
        """Sign the root by its own keys, and by those that it had before.

        Raises:
            PublishError: Keys are missing.
            NotSignedYetError: It waits for other people's.
        """
        root.version = 1 if before is None else before.version + 1
        self._save("root", root, [root] if before is None else [before, root])

    def check_keys(self, role: str) -> bool:
        """Look whether there are keys for a role here, before anything is made.

        Returns:
            Whether they are enough; a draft may have fewer, and waits for others' then.

        Raises:
            PublishError: There are too few.
        """
        entry = self.root().roles[role]
        count = len(self._signing.keys.signers(role, entry.keyids))
        if count < (1 if self._signing.draft else entry.threshold):
            raise self._too_few(role, count, entry.threshold)
        return bool(count >= entry.threshold)

    def waiting(self, role: str) -> Any:
        """Return metadata of a role that wait for signatures; None where none do.

        Raises:
            PublishError: They are damaged.
        """
        path = self._waiting / f"{role}.json"
        return _read(path, "What waits for signatures is damaged") if path.is_file() else None

    def add_signatures(self, role: str) -> bool:
        """Sign what waits, with the keys that lie here; write it if enough have signed by now.

        Returns:
            Whether enough have.

        Raises:
            PublishError: It was overtaken, or no key here has still to sign it.
        """
        metadata = self.waiting(role)
        before = self.newest(role).signed
        if metadata.signed.version != before.version + 1:
            msg = (
                f"The {role} that wait for signatures follow version {metadata.signed.version - 1}"
                f", and {before.version} is there by now. Drop them ('snow-deploy publish sign "
                "--discard'), and begin anew."
            )
            raise PublishError(msg)
        judges = [before, metadata.signed] if role == "root" else [self.root()]
        if not self._sign(role, metadata, judges):
            folders = ", ".join(map(str, self._signing.keys.folders))
            msg = (
                f"No key in {folders} has still to sign these {role}. Give the folder of another "
                "one with --keys."
            )
            raise PublishError(msg)
        if self._missing(role, metadata, judges):
            self._write_file(self._waiting / f"{role}.json", metadata)
            return False
        self._write_newest(role, metadata)
        (self._waiting / f"{role}.json").unlink()
        return True

    def discard(self) -> None:
        """Drop all that waits for signatures."""
        for role in KINDS:
            (self._waiting / f"{role}.json").unlink(missing_ok=True)

    def missing(self, role: str, metadata: Any) -> int:
        """Return how many people have still to sign what waits."""
        judges = [self.root(), metadata.signed] if role == "root" else [self.root()]
        return self._missing(role, metadata, judges)

    def outdated(self) -> list[str]:
        """Return roles whose newest metadata count no more: their keys were replaced."""
        root = self.root()
        return [role for role in KINDS if self._missing(role, self.newest(role), [root])]

    def old_versions(self) -> list[Path]:
        """Return files of versions that nobody asks for any more; roots are asked for for ever."""
        old = []
        for role in ("targets", "snapshot"):
            files = {int(it.name.split(".")[0]): it for it in self.folder.glob(f"*.{role}.json")}
            old += [files[number] for number in sorted(files)[:-_VERSIONS_KEPT]]
        return old

    def _save(self, role: str, signed: Any, judges: Sequence[Root]) -> None:
        """Sign metadata and write them, if all who judge them would take them."""
        if self.waiting(role) is not None:
            msg = (
                f"Other {role} wait for signatures. Sign those ('snow-deploy publish sign'), or "
                "drop them (with --discard)."
            )
            raise PublishError(msg)
        days = judges[-1].unrecognized_fields.get(X_DAYS, DAYS)
        signed.expires = self.now + timedelta(days=days.get(role, DAYS[role]))
        metadata: Metadata[Any] = Metadata(signed)
        count = self._sign(role, metadata, judges)
        missing = self._missing(role, metadata, judges)
        if missing and not (self._signing.draft and count):
            needed = max(judge.roles[role].threshold for judge in judges)
            raise self._too_few(role, count, needed)
        if missing:
            self._waiting.mkdir(parents=True, exist_ok=True)
            self._write_file(self._waiting / f"{role}.json", metadata)
            people = "one more signature" if missing == 1 else f"{missing} more signatures"
            msg = f"The {role} wait for {people}: 'snow-deploy publish sign' with others' keys."
            raise NotSignedYetError(msg)
        self._write_newest(role, metadata)

    def _sign(self, role: str, metadata: Any, judges: Sequence[Root]) -> int:
        """Sign with each key that lies here and has not; return how many those are."""
        results = self._results(role, metadata, judges)
        signers = self._signing.keys.signers(
            role, {key_id for it in results for key_id in it.unsigned}
        )
        for signer in signers:
            metadata.sign(signer, append=True)
        return len(signers)

    def _missing(self, role: str, metadata: Any, judges: Collection[Root]) -> int:
        """Return how many signatures metadata lack for boxes that trust any of some roots."""
        return max(int(each.missing) for each in self._results(role, metadata, judges))

    def _results(self, role: str, metadata: Any, judges: Collection[Root]) -> list[Any]:
        """Return what roots make of the signatures."""
        return [
            judge.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
            for judge in judges
        ]

    def _too_few(self, role: str, count: int, needed: int) -> PublishError:
        folders = ", ".join(map(str, self._signing.keys.folders))
        return PublishError(
            f"{count} keys of {role} lie in {folders}, expected {needed} that may sign. Give their "
            "folders with --keys, once for each; or let others sign later, with --draft."
        )

    def _write_newest(self, role: str, metadata: Any) -> None:
        version = metadata.signed.version
        name = "timestamp.json" if role == "timestamp" else f"{version}.{role}.json"
        self._write_file(self.folder / name, metadata)

    def _write_file(self, path: Path, metadata: Any) -> None:
        with atomic_write(path) as stream:
            stream.write(json.dumps(metadata.to_dict(), indent=1, sort_keys=True).encode())


def _read(path: Path, what: str) -> Any:
    try:
        return Metadata.from_file(str(path))
    except (exceptions.RepositoryError, exceptions.StorageError) as error:
        msg = (
            f"{what}: {path} cannot be read ({error}). Give its folder, or begin one with "
            "'snow-deploy publish init'."
        )
        raise PublishError(msg) from error
