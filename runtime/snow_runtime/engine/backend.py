"""The two libraries that build engines, behind one face."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from snow_runtime.errors import EngineError, MissingDependencyError
from snow_runtime.install_hint import pip_install
from snow_runtime.machine.driver import gpu_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.engine.log import Log

BackendName = Literal["tensorrt", "tensorrt-rtx"]

TARGETS: Final = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
"""Compute capabilities that TensorRT-RTX 1.x compiles for; neither Jetson's nor the H100's."""
PORTABLE: Final = ("sm80", "sm86", "sm89", "sm120")
"""What TensorRT-RTX compiles for by default: Ampere and all later GeForce and RTX GPUs."""

_MODULES: Final[dict[BackendName, tuple[str, ...]]] = {
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
_TITLES: Final[dict[BackendName, str]] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
_EXTRAS: Final[dict[BackendName, str]] = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}
_ELSEWHERE: Final[dict[BackendName, str]] = {
    "tensorrt": ". On Jetson it comes with JetPack: sudo apt install python3-libnvinfer, and make "
    "the virtual environment with --system-site-packages",
    "tensorrt-rtx": " (no GPU is needed; not for Jetson)",
}


@dataclass(frozen=True)
class Backend:
    """A library that builds engines, imported.

    Attributes:
        name: `tensorrt` or `tensorrt-rtx`.
        module: Its Python module; untyped, as NVIDIA ships it.
    """

    name: BackendName
    module: Any

    @property
    def version(self) -> str:
        """Its version, such as `10.3.0`."""
        return str(self.module.__version__)

    @property
    def title(self) -> str:
        """Its name and version, for people."""
        return f"{_TITLES[self.name]} {self.version}"

    @property
    def cross_compiles(self) -> bool:
        """Whether it builds for GPUs that are not here."""
        return hasattr(self.module, "ComputeCapability")

    @property
    def times_kernels(self) -> bool:
        """Whether it times kernels while it builds, so that a timing cache saves work."""
        return not self.cross_compiles  # TensorRT-RTX leaves the choice to the device

    def flag(self, kind: str, name: str) -> Any:
        """Return a member of one of its enumerations, such as `BuilderFlag.TF32`.

        Raises:
            EngineError: This version lacks it.
        """
        found = getattr(getattr(self.module, kind, None), name, None)
        if found is None:
            msg = (
                f"{self.title} does not offer {kind}.{name}, which this option needs. Leave the "
                "option out, or use a version that has it."
            )
            raise EngineError(msg)
        return found


def find_backend(
    name: BackendName | Literal["auto"] = "auto",
    *,
    cross: bool = False,
    load: Callable[[str], Any] = importlib.import_module,
) -> Backend:
    """Import the library that is to build an engine, or run one.

    Args:
        name: `auto` takes TensorRT where it and a GPU are here, otherwise TensorRT-RTX.
        cross: Whether it has to build for GPUs that are not here; `auto` then takes TensorRT-RTX.
        load: Function that imports a module.

    Raises:
        MissingDependencyError: It is not installed, or its libraries do not load.
    """
    if name != "auto":
        return Backend(name, _load(name, load))
    order: tuple[BackendName, ...] = ("tensorrt", "tensorrt-rtx")
    if cross or gpu_here() is None:
        order = ("tensorrt-rtx",)
    reasons = []
    for each in order:
        try:
            return Backend(each, _load(each, load))
        except MissingDependencyError as error:  # noqa: PERF203 - two rounds at most
            reasons.append(str(error))
    raise MissingDependencyError(" ".join(reasons))


def start_tensorrt(backend: Backend, kind: Any, log: Log) -> Any:
    """Make TensorRT's `Builder` or `Runtime`.

    Raises:
        EngineError: CUDA does not start, so TensorRT makes none.
    """
    try:
        return kind(log.logger)
    except TypeError as error:  # the way in which its Python module says so
        msg = (
            f"{backend.title} does not start: {log.last_error} 'snow-deploy doctor' says what of "
            "the GPU and its driver works."
        )
        raise EngineError(msg) from error


def _load(name: BackendName, load: Callable[[str], Any]) -> Any:
    failure: Exception | None = None
    for module in _MODULES[name]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what NVIDIA itself has deprecated
                found = load(module)
        except Exception as error:  # noqa: BLE001 - a missing library comes as what its loader raises
            if failure is None or not _absent(error, module):
                failure = error
            continue
        if hasattr(found, "Builder"):
            return found
        failure = ImportError(f"{module} has no Builder; its libraries are missing")
    title = _TITLES[name]
    install = pip_install(_EXTRAS[name]) + _ELSEWHERE[name]
    msg = f"{title} cannot be imported: {failure}. Install it: {install}."
    raise MissingDependencyError(msg) from failure


def _absent(error: Exception, module: str) -> bool:
    return isinstance(error, ModuleNotFoundError) and error.name == module
