"""Bounds what a pickle would unfold to, before anything unfolds it.

torch reads the tensors of a pickle and runs none of its code. A few bytes can still hold tuples in
tuples that take years to hash or overflow the stack, ask for an array of any size, or take apart a
tensor that claims more rows than any memory has. So each instruction is followed here first, with a
stand-in for what it makes.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

_DEEPEST = 500  # containers in one another; trainings leave some ten
_USES = 100  # parts that one instruction may go through, on an average
_FREE_USES = 1_000_000  # before that counts
_HEAVIEST = 1 << 40
_PICKLES = 5
"""In a file of torch before 1.6: a number, its version, the machine, what was saved, its keys."""

_REBUILD = "torch._utils._rebuild_"
_TYPED = "torch._tensor._rebuild_from_type_v2"
_MOVE = f"{_REBUILD}device_tensor_"
"""Begins the names of what copies a tensor to another type, however large it claims to be."""
_TAKES_APART = ("builtins.", "collections.", "_codecs.", "torch.Size", f"{_REBUILD}sparse_tensor")
"""Begins the names of what goes through its arguments' items."""
_PLAIN_CODES = frozenset({"latin1", "latin-1"})
_NO_TENSORS = frozenset({"torch.Size", "torch.device", "torch.serialization._get_layout"})


_INTO = frozenset({"BUILD", "SETITEM", "SETITEMS", "APPEND", "APPENDS"})
"""Instructions that put something into what is already there."""


class OutOfBoundsError(Exception):
    """A pickle would unfold to more than any training leaves; the text says how."""


@dataclass(slots=True, eq=False)
class _Value:
    """Stands for what an instruction makes.

    Attributes:
        weight: Parts that it holds, each as often as it is held.
        depth: Containers in one another.
        name: Name of a function or class; empty for anything else.
        constant: 0 for any number, and a text where it is a plain code; None for anything else.
        items: Items of a container.
        is_tensor: It comes of a function of torch's.
    """

    weight: int = 1
    depth: int = 0
    name: str = ""
    constant: Any = None
    items: Sequence[_Value] = ()
    is_tensor: bool = False

    def hold(self, others: list[_Value]) -> None:
        """Take others in."""
        self.weight = min(self.weight + sum(each.weight for each in others), _HEAVIEST)
        self.depth = max([self.depth, *(1 + each.depth for each in others)])
        if isinstance(self.items, list):
            self.items.extend(others)
        else:
            self.items = list(others)
        if self.depth > _DEEPEST:
            msg = f"it nests more than {_DEEPEST} containers in one another"
            raise OutOfBoundsError(msg)


def check_bounds(file: BinaryIO) -> None:
    """Follow a pickle, and all of them in a file of torch before 1.6.

    Args:
        file: File at the begin of the first.

    Raises:
        OutOfBoundsError: It would unfold to more than any training leaves.
        ValueError: It is no pickle, or is damaged.
    """
    for number in range(_PICKLES):
        last = _follow(file)
        if number == 0 and last is not _NUMBER:
            return


def _follow(file: BinaryIO) -> _Value:
    """Follow one pickle; return what stands for all of it."""
    stack: list[_Value | None] = []  # None for a mark
    memo: dict[int, _Value] = {}
    used = 0
    argument: Any
    try:
        for steps, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            name = opcode.name
            if name == "MARK":
                stack.append(None)
            elif name.endswith("PUT"):
                memo[argument] = _top(stack)
            elif name.endswith("GET"):
                stack.append(memo[argument])
            else:
                taken = _take(stack, opcode)
                used += sum(each.weight for each in taken[name in _INTO :])
                if used > _USES * steps + _FREE_USES:
                    msg = "it holds few parts so often that they unfold to more than any memory"
                    raise OutOfBoundsError(msg)
                if name == "STOP":
                    return taken[0]
                if opcode.stack_after:
                    stack.append(_make(name, argument, taken))
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        msg = "its instructions do not follow one another"
        raise ValueError(msg) from error
    msg = "it ends in the middle"
    raise ValueError(msg)


def _top(stack: list[_Value | None]) -> _Value:
    top = stack[-1]
    if top is None:
        raise IndexError
    return top


def _take(stack: list[_Value | None], opcode: pickletools.OpcodeInfo) -> list[_Value]:
    """Take what an instruction works with off the stack."""
    taken: list[_Value] = []
    names = [each.name for each in opcode.stack_before]
    if "mark" in names:
        while (each := stack.pop()) is not None:
            taken.append(each)
        names = names[: names.index("mark")]
    for _ in names:
        taken.append(_top(stack))
        stack.pop()
    return taken[::-1]


def _make(name: str, argument: Any, taken: list[_Value]) -> _Value:
    """Return what an instruction leaves on the stack."""
    if name == "GLOBAL":
        return _Value(name=argument.replace(" ", "."))
    if name.startswith("EMPTY_"):
        return _Value()
    if not taken:
        return _constant(argument)
    if name in {"REDUCE", "NEWOBJ"}:
        return _call(*taken)
    if name in _INTO:
        into, *others = taken
        if into is _NUMBER or into is _OTHER:
            raise TypeError
        if name == "BUILD":
            _refuse_tensor(others[0], "a state")
        into.hold(others)
        return into
    made = _Value(is_tensor=name == "BINPERSID")
    made.hold(taken)
    return made


def _constant(value: Any) -> _Value:
    """Return what stands for a number, a text or nothing: one for all that are of no account."""
    if isinstance(value, int):
        return _NUMBER
    return _Value(constant=value) if isinstance(value, str) and value in _PLAIN_CODES else _OTHER


_NUMBER, _OTHER = _Value(constant=0), _Value()


def _call(function: _Value, arguments: _Value) -> _Value:
    """Return what stands for a call's answer; refuse a call that torch.save does not write."""
    name = function.name
    items = arguments.items
    _refuse_tensor(arguments, name)
    if name.startswith(_TAKES_APART):
        for each in items:
            _refuse_tensor(each, name)
            if name == "collections.OrderedDict":  # of pairs
                for pair in each.items:
                    _refuse_tensor(pair, name)
    if name == _TYPED:
        inner, _, its_arguments, *_ = items
        if not inner.name.startswith(_REBUILD):
            raise OutOfBoundsError(_odd(inner.name))
        _call(inner, its_arguments)
    is_sized = name == "builtins.bytearray" and any(each is _NUMBER for each in items)
    is_coded = name == "_codecs.encode" and items[1].constant not in _PLAIN_CODES
    if is_sized or is_coded or name.startswith((_MOVE, "torch.storage.")):
        raise OutOfBoundsError(_odd(name))
    made = _Value(is_tensor=name.startswith("torch.") and name not in _NO_TENSORS)
    made.hold([arguments])
    return made


def _refuse_tensor(value: _Value, name: str) -> None:
    if value.is_tensor:
        msg = f"it takes a tensor apart, row by row, for {name}"
        raise OutOfBoundsError(msg)


def _odd(name: str) -> str:
    return f"it calls {name} in a way in which torch.save does not"
