"""Public names that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package whose public names are imported late.

    Type checkers don't follow them: the package imports the same names under `TYPE_CHECKING`, and
    hides what this returns from them, so that they find a misspelt name.

    Args:
        package: The package's `__name__`.
        modules: The public names of each module within the package, such as `data.spec`.
    """
    where = {name: module for module, names in modules.items() for name in names}

    def find(name: str) -> object:
        """Import a public name from its module on first use."""
        here = sys.modules[package]
        if name not in where:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg, name=name, obj=here)
        value: object = getattr(import_module(f"{package}.{where[name]}"), name)
        setattr(here, name, value)
        return value

    def list_names() -> list[str]:
        """List the package's names, those that are not imported yet included."""
        return sorted({*vars(sys.modules[package]), *where})

    return find, list_names
