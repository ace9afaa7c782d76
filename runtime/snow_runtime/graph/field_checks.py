"""Checks of a manifest's values: each gives the value back in its normal form, or refuses it.

``where`` names the value in the message, as in ``"preprocessing.image_size"``. Whole numbers and
numbers may be NumPy's; what comes back is always Python's own, which JSON can write.
"""

from __future__ import annotations

import math
import re
import reprlib
from itertools import pairwise
from numbers import Integral, Real
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

from snow_runtime.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

ADVICE: Final = "Export the graph again with 'snow-deploy export'."
_LARGEST_INTEGER: Final = 2**63 - 1


def refusal(where: str, seen: object, expected: str) -> ManifestError:
    """Make the error that says what was seen and what was expected."""
    finding = f"{where} is {reprlib.repr(seen)}, expected {expected}"
    return ManifestError(f"The manifest is not usable: {finding}. {ADVICE}", finding)


def text(where: str, value: object) -> str:
    """Check a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise refusal(where, value, "a text that is not empty")
    return value


def matching(pattern: str, expected: str) -> Callable[[str, object], str]:
    """Make a check of a text that a regular expression describes."""

    def check(where: str, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise refusal(where, value, expected)
        return value

    return check


sha256: Final = matching("[0-9a-f]{64}", "64 lower-case hexadecimal digits")
target: Final = matching(r"sm\d{2,3}", "a compute capability such as 'sm86'")


def truth(where: str, value: object) -> bool:
    """Check True or False."""
    return choice(where, value, (False, True))


def one_of(*choices: T) -> Callable[[str, object], T]:
    """Make a check of one of a few values; see :func:`choice`."""
    return lambda where, value: choice(where, value, choices)


def between(low: int, high: int = _LARGEST_INTEGER) -> Callable[[str, object], int]:
    """Make a check of a whole number in [low, high]."""
    return lambda where, value: integer(where, value, low, high)


def choice(where: str, value: object, choices: Sequence[T]) -> T:
    """Check one of a few values, of the same type too: neither ``True`` nor 1.0 is 1."""
    for each in choices:
        if type(value) is type(each) and value == each:
            return each
    raise refusal(where, value, " or ".join(repr(each) for each in choices))


def integer(where: str, value: object, low: int = 0, high: int = _LARGEST_INTEGER) -> int:
    """Check a whole number in [low, high]."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        result = int(value)
        if low <= result <= high:
            return result
    raise refusal(where, value, f"a whole number from {low} to {high}")


def number(where: str, value: object) -> float:
    """Check a finite number."""
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            result = float(value)
        except OverflowError:
            result = math.inf
        if math.isfinite(result):
            return result
    raise refusal(where, value, "a finite number")


def magnitude(where: str, value: object) -> float:
    """Check a finite number of 0 or more."""
    result = number(where, value)
    if result < 0:
        raise refusal(where, value, "a number of 0 or more")
    return result


def proportion(where: str, value: object) -> float:
    """Check a number in [0, 1]."""
    result = number(where, value)
    if not 0 <= result <= 1:
        raise refusal(where, value, "a number from 0 to 1")
    return result


def items(where: str, value: object, *, empty: bool = False) -> list[Any]:
    """Check a list or tuple that is not empty, unless it may be."""
    if not isinstance(value, (list, tuple)) or not (value or empty):
        raise refusal(where, value, "a list" if empty else "a list that is not empty")
    return list(value)


def channel_triple(where: str, value: object) -> tuple[float, float, float]:
    """Check three numbers, for red, green and blue."""
    numbers = [number(where, each) for each in items(where, value)]
    if len(numbers) != 3:
        raise refusal(where, value, "three numbers, for red, green and blue")
    return numbers[0], numbers[1], numbers[2]


def positive_triple(where: str, value: object) -> tuple[float, float, float]:
    """Check three numbers above 0."""
    numbers = channel_triple(where, value)
    if min(numbers) <= 0:
        raise refusal(where, value, "numbers above 0")
    return numbers


def moments(where: str, value: object) -> tuple[float, ...]:
    """Check a mean and a standard deviation, which is above 0."""
    found = tuple(number(where, each) for each in items(where, value))
    if len(found) != 2 or found[1] <= 0:
        raise refusal(where, value, "two numbers, the second one above 0")
    return found


def moments_or_none(where: str, value: object) -> tuple[float, ...]:
    """Check a mean and a standard deviation, or an empty list."""
    return moments(where, value) if items(where, value, empty=True) else ()


def selection(where: str, value: object) -> tuple[int, ...]:
    """Check channel indices in ascending order without repetition."""
    channels = tuple(integer(where, each) for each in items(where, value))
    if any(a >= b for a, b in pairwise(channels)):
        raise refusal(where, value, "channel indices in ascending order, without repetition")
    return channels


def table(read: Callable[[str, Any], T], where: str, value: object) -> dict[str, T]:
    """Check a table of named values, each by ``read``; gives a copy."""
    if not isinstance(value, dict):
        raise refusal(where, value, "a table of names and values")
    return {text(f"{where}: a name", key): read(f"{where}[{key!r}]", value[key]) for key in value}


def unique(where: str, names: Sequence[str]) -> None:
    """Check that no name comes twice."""
    if len(set(names)) != len(names):
        raise refusal(where, list(names), "each of them once")


Sha256: TypeAlias = Annotated[str, sha256]
Target: TypeAlias = Annotated[str, target]
Positive: TypeAlias = Annotated[int, between(1)]
Proportion: TypeAlias = Annotated[float, proportion]
