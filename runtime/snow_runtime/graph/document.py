"""JSON documents as dataclasses whose fields are checked by their types."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import partial
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from snow_runtime.errors import ManifestError
from snow_runtime.graph import field_checks

if TYPE_CHECKING:
    from typing_extensions import Self

Check: TypeAlias = Callable[[str, Any], Any]
"""Gives a value back in its normal form, or refuses it; the text names it in the message."""

_BY_TYPE: Final[dict[Any, Check]] = {
    str: field_checks.text,
    int: field_checks.integer,
    float: field_checks.number,
    bool: field_checks.truth,
}
_known: dict[type[Any], dict[str, Check]] = {}


class Document:
    """A table of a JSON document; subclasses are frozen dataclasses.

    When one is made, from JSON or in Python, each field is checked by its type and set to its
    normal form: `str` is a text that is not empty, `int` a whole number of 0 or more, `float` a
    finite number, `Literal` one of a few values, `tuple[X, ...]` a list (which may be empty where
    the default is), `dict[str, X]` a table, a document itself or the table that it is read from,
    and `X | None` may be missing. `Annotated[X, check]` is whatever `check` lets through.

    Attributes:
        prefix: What stands before a field's name in messages.

    Raises:
        ManifestError: A field has the wrong type or range.
    """

    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name, check in _checks(type(self)).items():
            object.__setattr__(self, name, check(self._place(name), getattr(self, name)))

    def _place(self, name: str) -> str:
        """Name a field in a message."""
        return f"{self.prefix}{name}"

    @classmethod
    def read(cls, where: str, data: object) -> Self:
        """Make it from a table of its fields.

        Args:
            where: What the table is, for the message.
            data: The table, as JSON gave it.

        Raises:
            ManifestError: A field is missing, unknown or wrong.
        """
        return cls(**_members(cls, where, data))


def read_fields(cls: type[Any], where: str, data: object) -> dict[str, Any]:
    """Check a table of the fields of any dataclass by their types, before it is made.

    Raises:
        ManifestError: A field is missing, unknown or wrong.
    """
    checks = _checks(cls)
    found = _members(cls, where, data).items()
    return {name: checks[name](f"{where}.{name}", value) for name, value in found}


def parse_json(text: str) -> Any:
    """Read JSON in which no table names anything twice.

    Raises:
        ManifestError: It is none.
    """
    try:
        return json.loads(text, object_pairs_hook=_table_without_repetition)
    except (ValueError, RecursionError) as error:
        finding = f"expected JSON, but {error}"
        msg = f"The manifest cannot be read: {finding}. {field_checks.ADVICE}"
        raise ManifestError(msg, finding) from error


def _table_without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a table that says two things under one name: JSON leaves open which one counts."""
    field_checks.unique("the list of names in a table", [name for name, _ in pairs])
    return dict(pairs)


def _members(cls: type[Any], where: str, data: object) -> dict[str, Any]:
    """Check that a table names the fields of a dataclass, all that it needs and no others."""
    if not isinstance(data, dict):
        raise field_checks.refusal(where, data, "a table of names and values")
    known = {each.name: each for each in fields(cls)}
    for name, each in known.items():
        optional = each.default is not MISSING or each.default_factory is not MISSING
        if name not in data and not optional:
            raise field_checks.refusal(where, data, f"a field {name!r} in it")
    for name in data:
        if name not in known:
            place = f"a field in {where}"
            raise field_checks.refusal(place, name, f"one of {', '.join(known)}")
    return data


def _checks(cls: type[Any]) -> dict[str, Check]:
    """Give the check of each field of a dataclass."""
    if cls not in _known:
        hints = get_type_hints(cls, include_extras=True)
        _known[cls] = {
            it.name: _check_of(hints[it.name], empty=it.default == ()) for it in fields(cls)
        }
    return _known[cls]


def _check_of(hint: Any, *, empty: bool = False) -> Check:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        check: Check = arguments[1]
    elif origin is Literal:
        check = field_checks.one_of(*arguments)
    elif origin in (Union, UnionType):
        (inner,) = (it for it in arguments if it is not NoneType)
        check = partial(_optional, _check_of(inner))
    elif origin is tuple:
        check = partial(_tuple, _check_of(arguments[0]), empty)
    elif origin is dict:
        check = partial(field_checks.table, _check_of(arguments[1]))
    elif isinstance(hint, type) and issubclass(hint, Document):
        check = partial(_document, hint)
    else:
        check = _BY_TYPE[hint]
    return check


def _optional(check: Check, where: str, value: object) -> Any:
    return None if value is None else check(where, value)


def _tuple(check: Check, empty: bool, where: str, value: object) -> tuple[Any, ...]:  # noqa: FBT001 - bound
    listed = field_checks.items(where, value, empty=empty)
    return tuple(check(f"{where}[{index}]", each) for index, each in enumerate(listed))


def _document(cls: type[Document], where: str, value: object) -> Document:
    return value if isinstance(value, cls) else cls.read(where, value)
