"""Certificates that nobody vouches for, as cameras have them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def make_certificate(path: Path, name: str, alternative: str) -> Path:
    """Write a certificate and its key into a file.

    Args:
        path: The file.
        name: Whose it is.
        alternative: What else it is for, such as ``IP:127.0.0.1``.
    """
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name}"
    extra = ["-addext", f"subjectAltName={alternative}", "-keyout", str(path), "-out", "-"]
    try:
        made = subprocess.run([*command.split(), *extra], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl here to make a certificate with")
    path.write_bytes(path.read_bytes() + made.stdout)
    return path
