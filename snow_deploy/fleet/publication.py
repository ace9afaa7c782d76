"""The folder that a web server serves: metadata by The Update Framework, documents and blobs.

The metadata of the timestamp is written last, in one step: whoever reads meanwhile sees the old
publication or the new one.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from tuf.api import exceptions
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from snow_deploy.fleet.errors import PublishError
from snow_deploy.fleet.keys import ROLES, KeyFolders
from snow_runtime.file_lock import hold_lock
from snow_runtime.files import atomic_write
from snow_runtime.update.pieces import BLOBS
from snow_runtime.update.release import Release, read_document
from snow_runtime.update.rollout import Rollout
from snow_runtime.update.signed import ISSUED, METADATA, TARGETS
from snow_runtime.update.wanted import ROLLOUT, release_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DAYS: Final[Mapping[str, int]] = {"root": 730, "targets": 365, "snapshot": 365, "timestamp": 14}
"""How long each role's metadata are valid, unless something else is asked for."""
_DAYS: Final = "x-days"
_HASHES: Final = ["sha256"]


class Publication:
    """A publication on this disk.

    Args:
        folder: Its folder.
        keys: Keys that sign.
        now: The present time; None for the clock's.
    """

    def __init__(self, folder: Path, keys: KeyFolders, now: datetime | None = None) -> None:
        self.folder = folder
        self._keys = keys
        self._given_now = now

    @property
    def metadata(self) -> Path:
        """Folder of the metadata."""
        return self.folder / METADATA

    @property
    def blobs(self) -> Path:
        """Folder of the blobs."""
        return self.folder / BLOBS

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within it, nobody else changes the publication; who comes later waits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(self.folder / ".lock"):
            yield

    def create(
        self, counts: Mapping[str, int], thresholds: Mapping[str, int], days: Mapping[str, int]
    ) -> None:
        """Begin a publication with new keys and nothing in it.

        Args:
            counts: How many keys a role has.
            thresholds: How many of them have to sign.
            days: How long a role's metadata are valid.

        Raises:
            PublishError: There is one already, or a role would have too few keys.
        """
        if any(self.metadata.glob("*.json")):
            msg = f"{self.folder} is a publication already. Give another folder."
            raise PublishError(msg)
        for folder in (self.metadata, self.blobs, self.folder / TARGETS):
            folder.mkdir(parents=True, exist_ok=True)
        root = Root(consistent_snapshot=True)
        root.unrecognized_fields[_DAYS] = {**DAYS, **days}
        for role in ROLES:
            for _ in range(counts.get(role, 1)):
                root.add_key(self._keys.make(role).public_key, role)
            set_threshold(root, role, thresholds.get(role, 1))
        self._write_root(root, None)
        self.publish({ROLLOUT: Rollout(1, None, None).to_json().encode()})

    def publish(self, documents: Mapping[str, bytes]) -> None:
        """Sign documents and let boxes see them, beside those that are there.

        Raises:
            PublishError: Keys are missing.
        """
        targets = self._signed("targets", Targets)
        for path, content in documents.items():
            entry = TargetFile.from_data(path, content, _HASHES)
            targets.targets[path] = entry
            file = self.folder / TARGETS / _with_hash(path, entry.hashes["sha256"])
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file) as stream:
                stream.write(content)
        self._write(targets, "targets")
        self._write_snapshot()

    def refresh(self, roles: tuple[str, ...] = ("timestamp",)) -> None:
        """Sign again what expires.

        Args:
            roles: Roles to sign anew; those that stand on them follow.

        Raises:
            PublishError: Keys are missing.
        """
        if "root" in roles:
            self._write_root(self.root(), self._metadata_of(Root).signed)
        if "targets" in roles:
            self._write(self._signed("targets", Targets), "targets")
        if {"targets", "snapshot"} & {*roles}:
            self._write_snapshot()
        else:
            self._write_timestamp(self._signed("timestamp", Timestamp))

    def rotate(self, role: str) -> list[str]:
        """Give a role new keys in the place of all that it has.

        Returns:
            Ids of the keys that may sign no more.

        Raises:
            PublishError: Keys are missing.
        """
        before, root = self.root(), self.root()
        old = list(root.roles[role].keyids)
        for key_id in old:
            root.revoke_key(key_id, role)
        for _ in old:
            root.add_key(self._keys.make(role).public_key, role)
        self._write_root(root, before)
        if role != "root":
            self.refresh((role,))
        return old

    def root(self) -> Root:
        """Return what the root's metadata say.

        Raises:
            PublishError: This is no publication.
        """
        root: Root = self._metadata_of(Root).signed
        return root

    def document(self, path: str) -> bytes | None:
        """Return a document that is published; None where there is none of this name.

        Raises:
            PublishError: Its file is gone or is another one.
        """
        entry = self._signed("targets", Targets, fresh=False).targets.get(path)
        if entry is None:
            return None
        file = self.folder / TARGETS / _with_hash(path, entry.hashes["sha256"])
        try:
            content = file.read_bytes()
            entry.verify_length_and_hashes(content)
        except (OSError, exceptions.LengthOrHashMismatchError) as error:
            msg = f"{file} is not what was published: {error}. Copy it from a back-up."
            raise PublishError(msg) from error
        return content

    def rollout(self) -> Rollout:
        """Return which release boxes are to have.

        Raises:
            PublishError: This is no publication.
        """
        content = self.document(ROLLOUT)
        if content is None:
            return Rollout(1, None, None)
        return read_document(Rollout, content, "rollout")

    def releases(self) -> list[Release]:
        """Return all releases, the newest first."""
        paths = self._signed("targets", Targets, fresh=False).targets
        found = [
            read_document(Release, self.document(path) or b"", "release")
            for path in paths
            if path.startswith(release_path("").partition("/")[0] + "/")
        ]
        return sorted(found, key=lambda each: -each.number)

    def expiries(self) -> dict[str, datetime]:
        """Return when the metadata of each role expire."""
        kinds: dict[str, Any] = {
            "root": Root,
            "targets": Targets,
            "snapshot": Snapshot,
            "timestamp": Timestamp,
        }
        return {role: self._metadata_of(kind).signed.expires for role, kind in kinds.items()}

    def _now(self) -> datetime:
        return self._given_now or datetime.now(timezone.utc)

    def _metadata_of(self, kind: Any) -> Any:
        """Read the newest metadata of a role."""
        role = kind.type
        if role == "timestamp":
            path = self.metadata / "timestamp.json"
        else:
            found = {
                int(each.name.split(".")[0]): each for each in self.metadata.glob(f"*.{role}.json")
            }
            path = found[max(found)] if found else self.metadata / f"1.{role}.json"
        try:
            return Metadata.from_file(str(path))
        except (exceptions.RepositoryError, exceptions.StorageError) as error:
            msg = (
                f"{self.folder} is no publication, or a damaged one: {path} cannot be read "
                f"({error}). Give its folder, or begin one with 'snow-deploy publish init'."
            )
            raise PublishError(msg) from error

    def _signed(self, role: str, kind: Any, *, fresh: bool = True) -> Any:
        """Return what a role says, or the beginning of it; with the next version if it is fresh."""
        there = role == "timestamp" and (self.metadata / "timestamp.json").is_file()
        if not there and not any(self.metadata.glob(f"*.{role}.json")):
            self.root()  # where there is none, this is no publication
            return kind()
        signed = self._metadata_of(kind).signed
        signed.version += fresh
        return signed

    def _write_snapshot(self) -> None:
        snapshot = self._signed("snapshot", Snapshot)
        snapshot.meta["targets.json"] = self._meta(Targets)
        self._write(snapshot, "snapshot")
        self._write_timestamp(self._signed("timestamp", Timestamp))

    def _write_timestamp(self, timestamp: Timestamp) -> None:
        timestamp.snapshot_meta = self._meta(Snapshot)
        timestamp.unrecognized_fields[ISSUED] = self._now().replace(microsecond=0).isoformat()
        self._write(timestamp, "timestamp")

    def _meta(self, kind: Any) -> MetaFile:
        signed = self._metadata_of(kind).signed
        content = (self.metadata / f"{signed.version}.{kind.type}.json").read_bytes()
        return MetaFile.from_data(signed.version, content, _HASHES)

    def _write_root(self, root: Root, before: Root | None) -> None:
        """Sign the root by its own keys, and by those that it had before."""
        root.version = 1 if before is None else before.version + 1
        key_ids = {*root.roles["root"].keyids}
        if before is not None:
            key_ids |= {*before.roles["root"].keyids}
        signers = self._keys.signers("root", key_ids)
        self._save(root, "root", signers, [root] if before is None else [before, root])

    def _write(self, signed: Any, role: str) -> None:
        root = self.root()
        signers = self._keys.signers(role, root.roles[role].keyids)
        self._save(signed, role, signers, [root])

    def _save(self, signed: Any, role: str, signers: list[Any], judges: list[Root]) -> None:
        """Sign metadata and write them, if all who judge them would take them."""
        days = judges[-1].unrecognized_fields.get(_DAYS, DAYS)
        signed.expires = self._now() + timedelta(days=days.get(role, DAYS[role]))
        metadata: Metadata[Any] = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        for judge in judges:
            self._check_signed(role, metadata, judge, len(signers))
        name = "timestamp.json" if role == "timestamp" else f"{signed.version}.{role}.json"
        with atomic_write(self.metadata / name) as stream:
            stream.write(json.dumps(metadata.to_dict(), indent=1, sort_keys=True).encode())

    def _check_signed(self, role: str, metadata: Any, judge: Root, count: int) -> None:
        """Look whether boxes that trust a root would take metadata."""
        try:
            judge.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except exceptions.UnsignedMetadataError as error:
            folders = ", ".join(map(str, self._keys.folders))
            msg = (
                f"{count} keys of {role} lie in {folders}, expected {judge.roles[role].threshold} "
                "that may sign. Give their folders with --keys, once for each."
            )
            raise PublishError(msg) from error


def set_threshold(root: Root, role: str, threshold: int) -> None:
    """Set how many keys of a role have to sign.

    Raises:
        PublishError: It has fewer.
    """
    count = len(root.roles[role].keyids)
    if not 1 <= threshold <= count:
        msg = (
            f"{threshold} keys of {role} are to sign, and it has {count}. Give it more keys "
            f"(--count {role}={threshold}), or a lower threshold."
        )
        raise PublishError(msg)
    root.roles[role].threshold = threshold


def _with_hash(path: str, sha256: str) -> str:
    """Return where a document lies: its hash stands before its name."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{sha256}.{name}"
