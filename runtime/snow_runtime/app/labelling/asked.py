"""What a request asks for, checked before anything is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_runtime.collection.records import GivenLabel

BODY_BYTES: Final = 1 << 20
"""Enough for the most pictures at once, each seen with the longest class."""
MOST_SHOWN: Final = 100
"""Pictures that one request may ask about."""
MOST_LABELLED: Final = 5000
"""Pictures that one request may label."""
_LONGEST_NAME: Final = 40
_LARGEST_ID: Final = 2**63 - 1  # SQLite's


def refuse(why: str, status: int = 400) -> NoReturn:
    """Refuse a request.

    Raises:
        HTTPException: With what is said, always.
    """
    raise HTTPException(status, why)


def text_of(given: Mapping[str, Any], key: str) -> str:
    """Return a text that is not empty."""
    found = given.get(key)
    if not isinstance(found, str) or not found:
        refuse(f"Give a {key}: a text that is not empty.")
    return found


def person_of(given: Mapping[str, Any]) -> str:
    """Return the name of who asks."""
    found = text_of(given, "by").strip()
    if not (0 < len(found) <= _LONGEST_NAME and found.isprintable()):
        refuse(f"A name is of 1 to {_LONGEST_NAME} letters.")
    return found


def ids_of(given: Any, most: int) -> list[int]:
    """Return numbers of pictures, each once."""
    if not isinstance(given, list) or len(given) > most:
        refuse(f"Send ids, a list of at most {most} pictures.")
    if not all(type(each) is int and 0 < each <= _LARGEST_ID for each in given):
        refuse("An id is a number, as the list of pictures gives it.")
    return list(dict.fromkeys(given))


def ids_in(text: str) -> list[int]:
    """Return the numbers of pictures of a query, such as ``3,7,12``."""
    parts = text.split(",") if text else []
    if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        refuse("Send ids, numbers with commas between them.")
    return ids_of([int(part) for part in parts], MOST_SHOWN)


def number_of(given: Mapping[str, Any], key: str, *, least: int, most: int) -> int:
    """Return a whole number within its range."""
    found = given.get(key)
    if type(found) is not int or not least <= found <= most:
        refuse(f"Send {key}, a whole number from {least} to {most}.")
    return found


def label_of(given: Any) -> GivenLabel:
    """Return a label: a text, a list of texts, or null for a picture that is passed over."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, list) and all(isinstance(each, str) for each in given):
        return tuple(given)
    refuse("A label is a text, a list of texts, or null.")


@dataclass(frozen=True)
class LabelChoice:
    """A label for some pictures.

    Attributes:
        label: The label.
        ids: Numbers of the pictures.
    """

    label: GivenLabel
    ids: tuple[int, ...]


def choices_of(given: Any) -> list[LabelChoice]:
    """Return labels, each with its pictures."""
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        refuse('Send choices, such as [{"label": "open", "ids": [3, 7]}].')
    found = [
        LabelChoice(label_of(each.get("label")), tuple(ids_of(each.get("ids"), MOST_LABELLED)))
        for each in given
    ]
    if sum(len(each.ids) for each in found) > MOST_LABELLED:
        refuse(f"At most {MOST_LABELLED} pictures are labelled at a time.")
    return found


def seen_of(given: Any) -> dict[int, GivenLabel]:
    """Return the labels that somebody saw on pictures when giving new ones."""
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(
        key.isascii() and key.isdigit() and len(key) < 20 for key in given
    ):
        refuse("Send seen, an object with a label for each picture that has one.")
    return {int(key): label_of(label) for key, label in given.items()}
