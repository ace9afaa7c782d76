"""The pip command that brings an extra: true where this package lies, for no index has it."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

from snow_runtime._version import __version__

_HERE = Path(__file__)
_NAME = "snow-deploy"


def pip_install(extras: str) -> str:
    """Return the command that installs extras of this project beside what is installed now.

    From a clone it names the clone, as an editable install does; of an installed wheel the place
    that it came from, by what pip has noted (PEP 610), or else the wheel's file by its name.

    Args:
        extras: Names from `pyproject.toml`, comma-separated, such as `cpu,camera`.
    """
    clone = _clone()
    if clone is not None:
        place = "." if clone == _current_folder() else str(clone)
        return f"pip install -e {shlex.quote(f'{place}[{extras}]')}"
    return f"pip install {shlex.quote(_installed_from(extras))}"


def _clone() -> Path | None:
    """Return the folder whose `pyproject.toml` this file belongs to; None in a wheel."""
    root = _HERE.resolve().parents[2]
    try:
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return root if re.search(rf'^name *= *"{_NAME}"', text, re.MULTILINE) else None


def _current_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it has been removed
        return None


def _installed_from(extras: str) -> str:
    """Return what pip is to be given: the place that the installed wheel came from."""
    noted = _direct_url()
    url = noted.get("url")
    if isinstance(url, str) and url.startswith("file:"):
        path = unquote(url.removeprefix("file://"))
        if _exists(path):
            return f"{path}[{extras}]"
    elif isinstance(url, str) and url:
        return f"{_NAME}[{extras}] @ {_pinned(url, noted.get('vcs_info'))}"
    wheel = f"{_NAME.replace('-', '_')}-{__version__}-py3-none-any.whl"
    return f"/path/to/{wheel}[{extras}]"


def _exists(path: str) -> bool:
    """Tell whether it is there for this user, who may not be the one who installed it."""
    try:
        return os.path.exists(path)  # noqa: PTH110 - unlike Path's, it raises no PermissionError
    except ValueError:  # a NUL character
        return False


def _pinned(url: str, vcs: object) -> str:
    """Return a repository's address as pip takes it, with the commit that is installed."""
    if not isinstance(vcs, dict) or "vcs" not in vcs:
        return url
    commit = f"@{vcs['commit_id']}" if "commit_id" in vcs else ""
    return f"{vcs['vcs']}+{url}{commit}"


def _direct_url() -> dict[str, object]:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
