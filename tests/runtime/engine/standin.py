"""A stand-in of the modules `tensorrt` and `tensorrt_rtx`, in the versions that `surfaces/` knows.

It offers the names that the version has and no others, so that code which asks with `hasattr` what
there is gets the version's own answers; and it does what TensorRT does as far as a builder of
engines sees it. What it does was taken from TensorRT-RTX 1.7, which builds without a GPU.
"""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tests.runtime.engine import surface
from tests.runtime.engine.standin_parts import build, network, run
from tests.runtime.engine.standin_parts.gate import Gated, bind, bind_enumeration
from tests.runtime.engine.standin_parts.text import STYLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BEHAVIOURS = {
    name: found
    for part in (network, build, run)
    for name, found in vars(part).items()
    if isinstance(found, type) and issubclass(found, Gated)
}
FAMILY = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


@dataclass(frozen=True)
class Behaviour:
    """What a stand-in does, as far as its version leaves it open.

    Attributes:
        gpu: Of this machine, such as `sm86`; None without one, where TensorRT gives no builder and
            TensorRT-RTX loads no plan.
        dla_cores: How many deep learning accelerators the machine has.
        computes_in: By name of an ONNX node, the type that its layer computes in (`Float`, `Half`,
            `Int8`) instead of the graph's.
        fails_to_build: The error that every build ends with.
        lists_layers: Whether TensorRT-RTX lists the layers in its log.
        names_nodes: Whether the layers' metadata say which ONNX nodes are in them.
        steps: How many steps each phase of a build has.
        at_step: Is called with the phase and the step before the progress monitor is.
    """

    gpu: str | None = "sm86"
    dla_cores: int = 0
    computes_in: Mapping[str, str] | None = None
    fails_to_build: str | None = None
    lists_layers: bool = True
    names_nodes: bool = True
    steps: int = 3
    at_step: Callable[[str, int], None] | None = None


class StandIn(ModuleType):
    """A module of TensorRT.

    Attributes:
        touched: Every (class, member) that was used, with an empty member for the class itself.
        missed: Those that were asked for and that the version lacks.
        behaviour: See :class:`Behaviour`.
    """

    def __init__(self, surface_name: str, *, version: str | None = None, **behaviour: Any) -> None:
        """Make the stand-in of a version.

        Args:
            surface_name: One of :func:`surface.names`, such as `tensorrt-10.3`.
            version: Another version of the same names, such as `10.3.1`.
            behaviour: Fields of :class:`Behaviour`.
        """
        family, _, _ = surface_name.rpartition("-")
        super().__init__(family.replace("-", "_"))
        found = surface.read(surface_name)
        self.__version__ = version or found["version"]
        self.behaviour = Behaviour(**behaviour)
        self.touched: set[tuple[str, str]] = set()
        self.missed: set[tuple[str, str]] = set()
        self._logger: Any = None
        self._started: weakref.WeakSet[Any] = weakref.WeakSet()
        self._title = f"{FAMILY[family]} {self.__version__}"
        self._style = STYLES[surface_name]
        self._rtx = family == "tensorrt-rtx"
        enumerations = found["enumerations"]
        self._names = {
            **{title: frozenset(members) for title, members in found["classes"].items()},
            **{
                title: frozenset(members) | {"name", "value"}
                for title, members in enumerations.items()
            },
        }
        self._classes = {
            title: bind(self, title, _BEHAVIOURS.get(title, Gated)) for title in found["classes"]
        }
        for title, values in enumerations.items():
            self._classes[title] = bind_enumeration(self, title, values)
        severity = self._classes["ILogger.Severity"]
        for name, value in {"Severity": severity, **severity.__members__}.items():
            setattr(self._classes["ILogger"], name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._classes:
            self.missed.add((name, ""))
            msg = f"{self._title} has no {name}, or surface.py does not list it"
            raise AttributeError(msg)
        self.touched.add((name, ""))
        return self._classes[name]

    def names(self, title: str) -> frozenset[str]:
        return self._names[title]

    def touch(self, title: str, name: str) -> None:
        """Remember that a name was used.

        Raises:
            AttributeError: The version lacks it.
        """
        if name not in self._names[title]:
            self.missed.add((title, name))
            msg = f"{self._title} has no {title}.{name}"
            raise AttributeError(msg)
        self.touched.add((title, name))

    # What the stand-in's own classes use; none of it counts as touched.

    def make(self, title: str, *arguments: Any) -> Any:
        return self._classes[title](*arguments)

    def member(self, title: str, name: str) -> Any:
        return self._classes[title].__members__[name]

    def start(self, instance: Any, logger: Any) -> None:
        """Take the logger of a builder or runtime; while one lives, TensorRT ignores others."""
        if not self._started:
            self._logger = logger
        elif self._logger is not logger:
            warning = "The logger passed in differs from one already registered: it is ignored."
            logger.log(self.member("ILogger.Severity", "WARNING"), warning)
        self._started.add(instance)
        self.log("INFO", "[MemUsageChange] Init CUDA: CPU +1, GPU +0, now: CPU 20, GPU 300 (MiB)")

    def log(self, severity: str, message: str) -> None:
        self._logger.log(self.member("ILogger.Severity", severity), message)

    def deprecated(self, message: str) -> None:
        if self._rtx:
            warnings.warn(f"Use Deprecated in {message} instead.", DeprecationWarning, stacklevel=3)
