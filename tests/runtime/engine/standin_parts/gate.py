"""Classes that offer exactly the names that the real ones have, and remember which were used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from tests.runtime.engine.standin import StandIn


class Gate(type):
    """The type of a stand-in's classes: it refuses names that the real class lacks.

    Names with an underscore pass, and so does what a subclass outside the stand-in defines itself.
    """

    _standin: StandIn
    _title: str
    _own: type | None = None  # the class of the stand-in; those outside inherit from it

    def __init__(cls, name: str, bases: tuple[type, ...], members: dict[str, Any]) -> None:
        super().__init__(name, bases, members)
        if cls._own is not None:
            for overridden in members.keys() & cls._standin.names(cls._title):
                cls._standin.touch(cls._title, overridden)

    def __getattribute__(cls, name: str) -> Any:
        if not name.startswith("_"):
            cls._pass(name)
        return super().__getattribute__(name)

    def _pass(cls, name: str) -> None:
        if not cls._is_outside(name):
            cls._standin.touch(cls._title, name)

    def _is_outside(cls, name: str) -> bool:
        """Whether a subclass outside the stand-in defines the name."""
        outside = cls.__mro__[: cls.__mro__.index(cls._own)] if cls._own else cls.__mro__
        return any(name in vars(each) for each in outside)


def bind(standin: StandIn, title: str, behaviour: type) -> Any:
    """Make the class of that title for one stand-in."""
    made = Gate(title.rpartition(".")[2], (behaviour,), {})
    made._standin, made._title, made._own = standin, title, made
    return made


class Gated(metaclass=Gate):
    """An object of TensorRT: methods are defined by its class, data members listed in `_data`."""

    _standin: StandIn
    _data: ClassVar[dict[str, Any]] = {}  # (enumeration, member) stands for that member

    def __init__(self) -> None:
        member = self._standin.member
        self._values = {
            name: member(*value) if isinstance(value, tuple) else value
            for name, value in self._data.items()
        }

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and not _is_outside(self, name):
            type(self)._pass(name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        kind = type(self)
        if name.startswith("_"):
            raise AttributeError(name)
        kind._pass(name)  # Python asks here again when `__getattribute__` has refused
        if name in self._values:
            return self._values[name]

        def call(*_: Any) -> None:
            msg = f"The stand-in does not imitate {kind._title}.{name}."
            raise NotImplementedError(msg)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self)
        outside = kind is not kind._own and name not in self._standin.names(kind._title)
        if name.startswith("_") or outside:
            super().__setattr__(name, value)
            return
        kind._pass(name)
        if name not in self._values:
            msg = f"The stand-in does not imitate setting {kind._title}.{name}."
            raise AttributeError(msg)
        before = self._values[name]
        if isinstance(before, Enumeration) and type(value) is not type(before):
            msg = f"{kind._title}.{name} is a {type(before)._title}, not {value!r}"
            raise TypeError(msg)
        self._values[name] = value


def _is_outside(instance: Gated, name: str) -> bool:
    return name in object.__getattribute__(instance, "__dict__")


class Enumeration(metaclass=Gate):
    """A member of an enumeration of pybind11: no integer, and comparable with its like only."""

    def __init__(self, name: str, value: int) -> None:
        self._name, self._value = name, value

    @property
    def name(self) -> str:
        return self._name

    @property
    def value(self) -> int:
        return self._value

    def __int__(self) -> int:
        return self._value

    __index__ = __int__

    def __hash__(self) -> int:
        return self._value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and int(other) == self._value

    def __le__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            msg = "Expected an enumeration of matching type!"
            raise TypeError(msg)
        return self._value <= other._value

    def __lt__(self, other: object) -> bool:
        return self <= other and self != other

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self._name}: {self._value}>"


def bind_enumeration(standin: StandIn, title: str, values: dict[str, int]) -> Any:
    made = bind(standin, title, Enumeration)
    made.__members__ = {name: made(name, value) for name, value in values.items()}
    for name, member in made.__members__.items():
        setattr(made, name, member)
    return made
