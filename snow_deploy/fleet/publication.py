"""The folder that a web server serves: metadata by The Update Framework, documents and blobs.

The metadata of the timestamp is written last, in one step: whoever reads meanwhile sees the old
publication or the new one.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tuf.api import exceptions
from tuf.api.metadata import Root, TargetFile

from snow_deploy.fleet.errors import PublishError
from snow_deploy.fleet.keys import ROLES, Signing
from snow_deploy.fleet.signed_folder import DAYS, HASHES, KINDS, X_DAYS, SignedFolder
from snow_runtime.file_lock import hold_lock
from snow_runtime.files import atomic_write
from snow_runtime.update.floor import Floor
from snow_runtime.update.pieces import BLOBS
from snow_runtime.update.release import Release, read_document
from snow_runtime.update.rollout import Rollout
from snow_runtime.update.signed import ISSUED, METADATA, TARGETS
from snow_runtime.update.wanted import ROLLOUT, release_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

PUBLISHER: Final = "publisher"
"""Folder of what the publisher alone reads."""
_ABOVE: Final[Mapping[str, tuple[str, ...]]] = {
    "root": (),
    "targets": ("snapshot", "timestamp"),
    "snapshot": ("timestamp",),
    "timestamp": (),
}
"""Roles that have to sign anew where one has."""
_CLOCKS: Final = timedelta(minutes=5)  # those of two machines differ a little


class Publication:
    """A publication on this disk.

    Args:
        folder: Its folder.
        signing: Keys that sign, and how.
    """

    def __init__(self, folder: Path, signing: Signing) -> None:
        self.folder = folder
        self.signing = signing
        self.signed = SignedFolder(self.metadata, folder / PUBLISHER / "waiting", signing)

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
            PublishError: There is one already, a role would have too few keys, or keys cannot be
                written or have no passphrase. No key was made then, unless the disk is full.
        """
        if any(self.metadata.glob("*.json")):
            msg = f"{self.folder} is a publication already. Give another folder."
            raise PublishError(msg)
        for role in ROLES:
            _check_threshold(role, counts.get(role, 1), thresholds.get(role, 1))
            self.signing.keys.check_passphrase(role)
        root = Root(consistent_snapshot=True)
        root.unrecognized_fields[X_DAYS] = {**DAYS, **days}
        for role in ROLES:
            for _ in range(counts.get(role, 1)):
                root.add_key(self.signing.keys.make(role).public_key, role)
            set_threshold(root, role, thresholds.get(role, 1))
        for folder in (self.metadata, self.blobs, self.folder / TARGETS):
            folder.mkdir(parents=True, exist_ok=True)
        self.signed.write_root(root, None)
        self.publish({ROLLOUT: Rollout(1, None, None).to_json().encode()})

    def publish(self, documents: Mapping[str, bytes]) -> None:
        """Sign documents and let boxes see them, beside those that are there.

        Raises:
            PublishError: Keys are missing.
        """
        self._check_keys("targets", *_ABOVE["targets"])
        targets = self.signed.following("targets")
        for path, content in documents.items():
            entry = TargetFile.from_data(path, content, HASHES)
            targets.targets[path] = entry
            file = self.folder / TARGETS / with_hash(path, entry.hashes["sha256"])
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file) as stream:
                stream.write(content)
        self.signed.write("targets", targets)
        self.write_snapshot()

    def withdraw(self, paths: Collection[str]) -> None:
        """Sign that documents are published no more; their files stay.

        Raises:
            PublishError: Keys are missing.
        """
        self._check_keys("targets", *_ABOVE["targets"])
        targets = self.signed.following("targets")
        for path in paths:
            targets.targets.pop(path, None)
        self.signed.write("targets", targets)
        self.write_snapshot()

    def refresh(self, roles: tuple[str, ...] = ("timestamp",)) -> None:
        """Sign again what expires.

        Args:
            roles: Roles to sign anew; those that stand on them follow.

        Raises:
            PublishError: Keys are missing.
        """
        wanted = {*roles, *(above for role in roles for above in _ABOVE[role]), "timestamp"}
        self._check_keys(*(role for role in ROLES if role in wanted))
        if "root" in roles:
            self.signed.write_root(self.root(), self.root())
        if "targets" in roles:
            self.signed.write("targets", self.signed.following("targets"))
        if {"targets", "snapshot"} & {*roles}:
            self.write_snapshot()
        else:
            self._write_timestamp()

    def check_clock(self) -> None:
        """Look whether the clock here goes back behind what was signed by it.

        Boxes believe that it is never earlier than that.

        Raises:
            PublishError: It does.
        """
        timestamp = self.signed.newest("timestamp")
        given = timestamp.signed.unrecognized_fields.get(ISSUED, Floor().issued)
        if self.signed.now < datetime.fromisoformat(given) - _CLOCKS:
            msg = (
                f"The clock here says {self.signed.now.isoformat(timespec='seconds')}, and the "
                f"timestamp before was signed {given}. Set the clock. If that one was wrong, "
                "'snow-deploy publish keys rotate timestamp' has boxes forget it."
            )
            raise PublishError(msg)

    def rotate(self, role: str) -> list[str]:
        """Give a role new keys in the place of all that it has.

        Returns:
            Ids of the keys that may sign no more.

        Raises:
            PublishError: Keys are missing.
        """
        self._check_keys("root", *_ABOVE[role])
        before, root = self.root(), self.root()
        old = list(root.roles[role].keyids)
        for key_id in old:
            root.revoke_key(key_id, role)
        for _ in old:
            root.add_key(self.signing.keys.make(role).public_key, role)
        self.signed.write_root(root, before)
        if role != "root":
            self.refresh((role,))
        return old

    def _check_keys(self, *roles: str) -> None:
        """Look whether all that a change needs can be signed here, before any of it is written.

        A draft stops at the first one that others have still to sign: the rest follows then.

        Raises:
            PublishError: Keys are missing.
        """
        for role in roles:
            if not self.signed.check_keys(role):
                return

    def check_whole(self) -> None:
        """Look whether boxes see what was signed last, or a change was cut short.

        Raises:
            PublishError: It was.
        """
        for role, below in (("snapshot", "targets"), ("timestamp", "snapshot")):
            named = self.signed.newest(role).signed
            seen = named.snapshot_meta if below == "snapshot" else named.meta["targets.json"]
            newest = self.signed.newest(below).signed.version
            if seen.version != newest:
                msg = (
                    f"A change was cut short: boxes are shown the {below} {seen.version}, and "
                    f"{newest} is signed. Let them see it with 'snow-deploy publish refresh "
                    "--role snapshot', or take its file away."
                )
                raise PublishError(msg)

    def root(self) -> Root:
        """Return what the root's metadata say.

        Raises:
            PublishError: This is no publication.
        """
        return self.signed.root()

    def document(self, path: str, targets: Any = None) -> bytes | None:
        """Return a document that is published; None where there is none of this name.

        Args:
            path: Its signed name.
            targets: What names it; None for the newest that is signed.

        Raises:
            PublishError: Its file is gone or is another one.
        """
        named = self.signed.newest("targets").signed if targets is None else targets
        entry = named.targets.get(path)
        if entry is None:
            return None
        file = self.folder / TARGETS / with_hash(path, entry.hashes["sha256"])
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
        paths = self.signed.newest("targets").signed.targets
        found = [
            read_document(Release, self.document(path) or b"", "release")
            for path in paths
            if path.startswith(release_path("").partition("/")[0] + "/")
        ]
        return sorted(found, key=lambda each: -each.number)

    def expiries(self) -> dict[str, datetime]:
        """Return when the metadata of each role expire."""
        return {role: self.signed.newest(role).signed.expires for role in KINDS}

    def write_snapshot(self) -> None:
        """Have the newest targets count, and sign that this is the newest.

        Raises:
            PublishError: Keys are missing.
        """
        snapshot = self.signed.following("snapshot")
        snapshot.meta["targets.json"] = self.signed.file_of("targets")
        self.signed.write("snapshot", snapshot)
        self._write_timestamp()

    def _write_timestamp(self) -> None:
        timestamp = self.signed.following("timestamp")
        timestamp.snapshot_meta = self.signed.file_of("snapshot")
        timestamp.unrecognized_fields[ISSUED] = self.signed.now.replace(microsecond=0).isoformat()
        self.signed.write("timestamp", timestamp)


def set_threshold(root: Root, role: str, threshold: int) -> None:
    """Set how many keys of a role have to sign.

    Raises:
        PublishError: It has fewer.
    """
    _check_threshold(role, len(root.roles[role].keyids), threshold)
    root.roles[role].threshold = threshold


def _check_threshold(role: str, count: int, threshold: int) -> None:
    """Look whether a role has enough keys.

    Raises:
        PublishError: It has fewer than have to sign.
    """
    if not 1 <= threshold <= count:
        msg = (
            f"{threshold} keys of {role} are to sign, and it has {count}. Give it more keys "
            f"(--count {role}={threshold}), or a lower threshold."
        )
        raise PublishError(msg)


def with_hash(path: str, sha256: str) -> str:
    """Return where a document lies: its hash stands before its name."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{sha256}.{name}"
