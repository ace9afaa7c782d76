"""Reading a configuration file: all its faults at once, each with its line and its key."""

from __future__ import annotations

import difflib
import math
import re
import sys
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

from snow_deploy.cli.config_lines import key_lines, line_of
from snow_deploy.cli.config_tables import ConfigFile, Secret
from snow_deploy.errors import ConfigError
from snow_runtime.secret_references import is_reference

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from snow_deploy.cli.config_tables import CameraTable, MqttTable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PLAIN: Final[dict[Any, str]] = {
    str: 'a text, as "…"',
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}

_LISTS: Final[dict[Any, str]] = {
    str: 'a list of texts, as ["…"]',
    float: "a list of numbers, as [0.1, 0.5]",
    tuple[float, ...]: "a list of points, as [[0.1, 0.5], …]",
}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file.

    Attributes:
        where: Key, with the tables around it; empty for the file as a whole.
        what: What was seen, and what was expected.
        line: Line of the key; None where it is not known.
    """

    where: tuple[str, ...]
    what: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}, " if self.line is not None else ""
        return f"{place}{'.'.join(self.where)}: {self.what}" if self.where else self.what


def config_error(path: Path, faults: list[Fault]) -> ConfigError:
    """Return an error that says all faults of a file."""
    ordered = [str(fault) for fault in sorted(faults, key=lambda fault: fault.line or 0)]
    count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    msg = (
        f"{path} has {count}: {'; '.join(ordered)}. Correct it; `snow-deploy config check` says "
        "the same, a line for each."
    )
    return ConfigError(msg, tuple(ordered))


@dataclass(frozen=True)
class Reading:
    """What a file says, as far as it can be read.

    Attributes:
        config: The tables; what is wrong in them is None.
        lines: Lines of the keys, by their place.
        faults: What is wrong.
    """

    config: ConfigFile
    lines: dict[tuple[str, ...], int]
    faults: list[Fault]


def read_config(path: Path) -> Reading:
    """Read a file.

    Raises:
        ConfigError: It cannot be read, or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows begin with a mark
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise config_error(path, [Fault((), f"it is no TOML: {error}")]) from error
    except RecursionError as error:
        what = "it is no TOML that can be read: tables or lists lie too deep within each other"
        raise config_error(path, [Fault((), what)]) from error
    except UnicodeDecodeError as error:
        what = f"it is no text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        raise config_error(path, [Fault((), what)]) from error
    except (OSError, ValueError) as error:
        raise config_error(path, [Fault((), f"it cannot be read: {error}")]) from error
    reader = _Reader(key_lines(text))
    config = reader.table(ConfigFile, data, ())
    reader.check_logins(config)
    return Reading(config, reader.lines, reader.faults)


class _Reader:
    """Makes dataclasses of tables, and notes what is wrong."""

    def __init__(self, lines: dict[tuple[str, ...], int]) -> None:
        self.lines = lines
        self.faults: list[Fault] = []

    def table(self, kind: type[Any], data: dict[str, Any], where: tuple[str, ...]) -> Any:
        hints = get_type_hints(kind)
        for name in data:
            if name not in hints:
                self.note((*where, name), f"there is no such key, {nearest(name, hints)}")
        values = {}
        for each in fields(kind):
            if each.name in data:
                place = *where, each.name
                values[each.name] = self.value(hints[each.name], data[each.name], place)
            elif each.default is MISSING:
                self.note(where or (each.name,), f"{each.name} is missing, expected it here")
                values[each.name] = None
        return kind(**values)

    def value(self, hint: Any, value: Any, where: tuple[str, ...]) -> Any:
        if isinstance(hint, UnionType):
            (hint,) = (each for each in get_args(hint) if each is not type(None))
        if hint is Secret:
            return self.secret(value, where)
        if is_dataclass(hint):
            return self.nested(hint, value, where)
        if get_origin(hint) is dict:
            return self.named(get_args(hint)[1], value, where)
        if get_origin(hint) is tuple:
            return self.listed(get_args(hint)[0], value, where)
        return self.plain(hint, value, where)

    def plain(self, hint: Any, value: Any, where: tuple[str, ...]) -> Any:
        if hint is float and type(value) is int:
            return float(value)
        if type(value) is not hint:
            return self.note(where, f"{_seen(value)}, expected {_PLAIN[hint]}")
        if hint is str and (not value or "\0" in value):
            seen = "a NUL within it" if value else "an empty text"
            return self.note(where, f"{seen}, expected {_PLAIN[hint]}")
        if hint is float and not math.isfinite(value):
            return self.note(where, f"{value}, expected a finite number")
        return value

    def listed(self, hint: Any, value: Any, where: tuple[str, ...]) -> Any:
        if not isinstance(value, list):
            return self.note(where, f"{_seen(value)}, expected {_LISTS[hint]}")
        found = []
        for each in value:
            before = len(self.faults)
            found.append(self.value(hint, each, where))
            if len(self.faults) > before:  # one is enough to say
                return None
        return tuple(found)

    def named(self, kind: Any, value: Any, where: tuple[str, ...]) -> Any:
        if not isinstance(value, dict):
            return self.note(where, f"{_seen(value)}, expected a table for each")
        return {name: self.nested(kind, each, (*where, name)) for name, each in value.items()}

    def nested(self, kind: Any, value: Any, where: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return self.table(kind, value, where)
        return self.note(where, f"{_seen(value)}, expected a table")

    def secret(self, value: Any, where: tuple[str, ...]) -> Any:
        if (
            isinstance(value, dict)
            and len(value) == 1
            and value.keys() <= {"env", "file"}
            and all(isinstance(each, str) and each for each in value.values())
        ):
            found = Secret(**value)
            if is_reference(found.reference):
                return found
            return self.note(where, "a brace or a NUL in the name, expected one without")
        seen = "the secret itself" if isinstance(value, str) else _seen(value)
        return self.note(where, f'{seen}, expected {{ env = "NAME" }} or {{ file = "PATH" }}')

    def check_logins(self, found: ConfigFile) -> None:
        """Look at cameras' names, and at logins beside addresses."""
        for name, camera in (found.cameras or {}).items():
            where = "cameras", name
            if not re.fullmatch(r"[\w-]+", name):
                self.note(where, "a camera's name, expected letters, digits, _ and - alone")
            if camera is not None:
                self._check_login(camera, camera.address, (*where, "address"))
        if found.mqtt is not None:
            self._check_login(found.mqtt, found.mqtt.url, ("mqtt", "url"))

    def _check_login(
        self, table: CameraTable | MqttTable, address: object, where: tuple[str, ...]
    ) -> None:
        """Refuse a login beside an address that has one, or that cannot have one."""
        if not isinstance(address, str) or (table.user is None and table.password is None):
            return
        _, separator, rest = address.partition("://")
        if not separator or "@" in rest.partition("/")[0]:
            seen = "it has a login itself" if separator else "it is no address of a network"
            self.note(where, f"{seen}, expected one without, beside user and password")
        elif table.user is None:
            self.note((*where[:-1], "password"), "there is no user, expected one beside it")

    def note(self, where: tuple[str, ...], what: str) -> None:
        self.faults.append(Fault(where, what, line_of(self.lines, where)))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the name that was meant, or all there are, in words."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"expected {_one_of(known)}"


def _one_of(known: Iterable[str]) -> str:
    names = ", ".join(known)
    return f"one of {names}" if names else "none, since there are none"


def _seen(value: Any) -> str:
    """Describe a value, and no secret in it."""
    kinds = {dict: "a table", list: "a list", str: "a text", bool: "true or false"}
    return kinds.get(type(value), f"{value!r}")
