"""Keys that sign, in files that only a passphrase opens.

A passphrase comes from a file or from the environment, never from the command line.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snow_deploy.fleet.errors import PublishError
from snow_runtime.files import sync_folder, writing

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner

ROLES: Final = ("root", "targets", "snapshot", "timestamp")
VARIABLE: Final = "SNOW_KEY_PASSPHRASE"
_SHORTEST: Final = 8
_ENDING: Final = ".pem"


def refuse_served(publication: Path, paths: Collection[Path]) -> None:
    """Look whether keys and passphrases lie outside what is served.

    Raises:
        PublishError: One lies within.
    """
    folder = publication.resolve()
    for path in paths:
        if path.resolve().is_relative_to(folder):
            msg = f"{path} lies within {publication}, which is served. Put it elsewhere."
            raise PublishError(msg)


@dataclass(frozen=True)
class KeyFolders:
    """Where keys lie, and what opens them.

    Attributes:
        folders: Folders with key files; new ones go to the first.
        passphrase_file: File whose first line is the passphrase; None for the environment.
    """

    folders: tuple[Path, ...]
    passphrase_file: Path | None = None

    def make(self, role: str) -> CryptoSigner:
        """Make a key for a role, Ed25519, and write its file.

        Raises:
            PublishError: There is no passphrase, or it is too short, or the file cannot be written.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            PrivateFormat,
        )
        from securesystemslib.signer import CryptoSigner

        secret = BestAvailableEncryption(self._passphrase(role))
        private = Ed25519PrivateKey.generate()
        signer = CryptoSigner(private)
        content = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)
        path = self.folders[0] / f"{role}-{signer.public_key.keyid[:12]}{_ENDING}"
        with writing(path, PublishError, "Name another folder with --keys, or free space."):
            _write_secret(path, content)
        return signer

    def check_passphrase(self, role: str) -> None:
        """Look whether there is a passphrase for a role's keys, before anything is made.

        Raises:
            PublishError: There is none, or it is too short.
        """
        self._passphrase(role)

    def signers(self, role: str, key_ids: Collection[str]) -> list[CryptoSigner]:
        """Open the keys of a role that lie here.

        Args:
            role: The role.
            key_ids: Ids of the keys that may sign for it.

        Raises:
            PublishError: The passphrase does not open a key, or a file is none.
        """
        return [
            signer
            for path in self.files(role)
            if any(key_id[:12] == path.stem.rpartition("-")[2] for key_id in key_ids)
            and (signer := self._open(path, role)).public_key.keyid in key_ids
        ]

    def files(self, role: str) -> list[Path]:
        """Return the files of a role's keys."""
        return [
            path for folder in self.folders for path in sorted(folder.glob(f"{role}-*{_ENDING}"))
        ]

    def _open(self, path: Path, role: str) -> CryptoSigner:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner

        try:
            content = path.read_bytes()
        except OSError as error:
            msg = f"The key {path} cannot be read: {error}. Allow this user to read it."
            raise PublishError(msg) from error
        try:
            return CryptoSigner(load_pem_private_key(content, self._passphrase(role)))
        except (ValueError, TypeError) as error:
            msg = (
                f"The key {path} cannot be opened: the passphrase is not its own, or the file is "
                "damaged. Give the right one with --passphrase-file, or in "
                f"{VARIABLE}_{role.upper()}."
            )
            raise PublishError(msg) from error

    def _passphrase(self, role: str) -> bytes:
        if self.passphrase_file is not None:
            where = str(self.passphrase_file)
            text = _first_line(self.passphrase_file)
        else:
            own = f"{VARIABLE}_{role.upper()}"
            where = own if own in os.environ else VARIABLE
            text = os.environ.get(where, "")
        if len(text) < _SHORTEST:
            seen = "is not there" if not text else "is too short"
            msg = (
                f"The passphrase of the {role} keys in {where} {seen}, expected {_SHORTEST} "
                "characters or more. Set the variable, or give --passphrase-file."
            )
            raise PublishError(msg)
        return text.encode()


@dataclass(frozen=True)
class Signing:
    """How a publication is signed.

    Attributes:
        keys: Keys that sign.
        now: The present time; None for the clock's.
        draft: Whether what too few can sign here waits for others, rather than being refused.
    """

    keys: KeyFolders
    now: datetime | None = None
    draft: bool = False


def _write_secret(path: Path, content: bytes) -> None:
    """Write a new file that its user alone may read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(path.parent)


def _first_line(path: Path) -> str:
    """Read a passphrase.

    Raises:
        PublishError: The file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else error
        msg = f"The passphrase file {path} cannot be read: {why}. Give another."
        raise PublishError(msg) from error
