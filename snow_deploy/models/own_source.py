"""Networks of somebody's own: a function of a Python module that returns one."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from snow_deploy.errors import SourceError
from snow_deploy.models.module_facts import ModuleFacts, facts_of_config, for_stem
from snow_deploy.models.network_facts import config_of
from snow_deploy.models.plain.hooks import deep_copy, take_off_compile
from snow_deploy.models.plain.tracer import where
from snow_runtime.graph.image_size import height_width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


_SHOWN = 12
"""Functions of a module that a message lists."""


def own_network(source: str, say: Callable[[str], None]) -> tuple[nn.Module, ModuleFacts]:
    """Import a module, call its factory and return the network, with what it says of pictures.

    The working folder is looked in too, as Python's own `-m` does. The network may have an
    attribute `pretrained_cfg`, as timm's have.

    Args:
        source: `package.module:factory`.
        say: Callback that gets, a line at a time, what was assumed.

    Raises:
        SourceError: There is no such module or function, it raises, or returns no network.
    """
    module_name, _, factory_name = source.partition(":")
    with _as_it_was():
        module = _import(source, module_name)
        made = take_off_compile(_call(source, _find(source, module, factory_name)))
    config = config_of(made)
    facts = facts_of_config(source, config or {}, say)
    _wake(made, facts)
    if config is None:
        mean, std = (", ".join(f"{v:g}" for v in each) for each in (facts.mean, facts.std))
        say(
            f"{source} does not say how its pictures are prepared: RGB with mean {mean} and "
            f"deviation {std} is assumed. Give the network an attribute pretrained_cfg, see "
            "docs/guide/sources.md."
        )
        facts = replace(facts, crop_share=None)
    facts = for_stem(made, facts)
    origin = f"as {factory_name} of {module_name} returned it"
    return made, replace(facts, origin=origin, code_sha256=code_sha256(source))


def code_sha256(source: str) -> str:
    """Return the SHA-256 (hex) of the file that a factory is in; empty where there is none."""
    with _working_folder():
        try:
            spec = importlib.util.find_spec(source.partition(":")[0])
        except (ImportError, ValueError, AttributeError):
            return ""
    path = None if spec is None or spec.origin is None else Path(spec.origin)
    if path is None or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Undo what somebody's code changes for all of the process, such as switching gradients off."""
    folder, device = Path.cwd(), torch.get_default_device()
    before = {
        torch.set_grad_enabled: torch.is_grad_enabled(),
        torch.set_default_dtype: torch.get_default_dtype(),
        torch.set_num_threads: torch.get_num_threads(),
    }
    try:
        yield
    finally:
        for give_back, value in before.items():
            give_back(value)  # type: ignore[operator]
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        os.chdir(folder)


@contextmanager
def _working_folder() -> Iterator[None]:
    """Look for modules in the working folder too, after everything else."""
    place = str(Path.cwd())
    added = place not in sys.path and "" not in sys.path
    if added:
        sys.path.append(place)
    try:
        yield
    finally:
        if added and place in sys.path:
            sys.path.remove(place)


def _import(source: str, name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        msg = (
            f"--source {source} names no module: {name!r}. Write package.module:factory, such as "
            "nets:small for the function small of nets.py."
        )
        raise SourceError(msg)
    with _working_folder():
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            absent = getattr(error, "name", None) if isinstance(error, ImportError) else None
            if absent and (name == absent or name.startswith(f"{absent}.")):
                near = difflib.get_close_matches(absent.rpartition(".")[2], _beside(absent), 1)
                advice = "Run the command where the module lies, or install its package."
                if name.endswith(".py"):
                    advice = f"Write {source.replace('.py:', ':')}, a module's name and no file's."
                elif near:
                    parent = absent.rpartition(".")[0]
                    advice = f"Did you mean {parent}{'.' if parent else ''}{near[0]}?"
                msg = (
                    f"there is no Python module {absent!r} for --source {source}: looked in "
                    f"{Path.cwd()} and where Python looks. {advice}"
                )
                raise SourceError(msg) from error
            advice = "Import it in Python first, with the libraries that it needs."
            raise SourceError(_raised(f"importing {name}", error, advice)) from error


def _beside(name: str) -> list[str]:
    """Return the modules of a package, or of the working folder where a name is in none."""
    parent = sys.modules.get(name.rpartition(".")[0])
    folders = [str(Path.cwd())] if parent is None else list(getattr(parent, "__path__", []))
    return [each.name for each in pkgutil.iter_modules(folders)]


def _find(source: str, module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None or not name:
            raise SourceError(_absent(source, module, name))
    return found


def _absent(source: str, module: ModuleType, name: str) -> str:
    """Say that a module has no such function, which it has, and whether another one was meant."""
    can = {key: value for key, value in vars(module).items() if callable(value)}
    own = [key for key, value in can.items() if _module_of(value) == module.__name__]
    shown = own or [key for key in can if not key.startswith("_")]
    whose = "of its own" if own or not shown else "from elsewhere"
    listed = ", ".join(shown[:_SHOWN]) + (", …" if len(shown) > _SHOWN else "")
    near = difflib.get_close_matches(name.partition("(")[0], [*own, *can], 1)
    hint = f" Did you mean {module.__name__}:{near[0]}?" if near else ""
    here = Path.cwd() / f"{module.__name__.partition('.')[0]}.py"
    file = getattr(module, "__file__", None)
    if here.is_file() and (file is None or Path(file).resolve() != here.resolve()):
        other = f"{file or 'a module of Python itself'}, not {here.name} here"
        hint += f" It is {other}: give yours another name."
    return (
        f"{module.__name__} has nothing called {name!r}, as --source {source} asks. It has "
        f"these functions and classes {whose}: {listed or 'none'}.{hint}"
    )


def _module_of(value: Any) -> str | None:
    return getattr(value, "__module__", None)


def _call(source: str, factory: Any) -> nn.Module:
    if isinstance(factory, nn.Module):
        return deep_copy(factory)
    if not callable(factory):
        msg = (
            f"--source {source} is a {type(factory).__name__}, expected a function that returns "
            "an nn.Module."
        )
        raise SourceError(msg)
    with _working_folder():  # a factory may import more
        try:
            made = factory()
        except (Exception, SystemExit) as error:
            advice = "A factory takes no arguments and returns the network; try it in Python first."
            raise SourceError(_raised(f"the factory {source}", error, advice)) from error
    if not isinstance(made, nn.Module):
        msg = f"the factory {source} returned {_seen(made)}"
        raise SourceError(msg)
    return made


def _seen(made: Any) -> str:
    """Say what a factory returned instead of a network, and what to return."""
    seen, advice = f"a {type(made).__name__}", "End it with `return network`."
    if isinstance(made, type):
        seen, advice = f"the class {made.__name__}", f"Return {made.__name__}(...), one of it."
    elif inspect.iscoroutine(made):
        made.close()  # which else warns that nobody awaited it
        advice = "Write it with def, not async def."
    elif isinstance(made, tuple | list | dict):
        parts = made.values() if isinstance(made, dict) else made
        kinds = [type(each).__name__ for each in parts]
        seen += f" ({', '.join(kinds[:3])}{', …' if len(kinds) > 3 else ''})" if kinds else ""
        if any(isinstance(each, nn.Module) for each in parts):
            advice = "Return the network in it alone."
    elif isinstance(made, torch.export.ExportedProgram):
        advice = "Return its module(), exported for a batch of any size."
    elif callable(made):
        advice = "Return what that returns when it is called."
    return f"{seen}, expected an nn.Module. {advice}"


def _wake(network: nn.Module, facts: ModuleFacts) -> None:
    """Give layers that wait for a first picture one, in place: only then have they weights.

    Raises:
        SourceError: They cannot read it.
    """
    if not any(is_lazy(value) for value in network.state_dict(keep_vars=True).values()):
        return
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, *height_width(facts.image_size)))
    except Exception as error:
        advice = "Run it on a picture in the factory, so that its lazy layers get their weights."
        raise SourceError(_raised(f"{facts.name} on a first picture", error, advice)) from error


def _raised(what: str, error: BaseException, advice: str) -> str:
    try:
        told = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # noqa: BLE001 - of somebody's own class, which cannot say what it is
        told = ""
    reason = told.strip().partition("\n")[0].rstrip(".")
    place = where(error)
    at = f" at {place}" if place else ""
    told = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return f"{what} raised {told}{at}. {advice}"


def is_stale(source: str, code: str) -> bool:
    """Tell whether the file of a factory is there and is another one than it was."""
    now = code_sha256(source) if os.environ.get("RANK", "0") == "0" else ""
    return bool(code) and bool(now) and now != code
