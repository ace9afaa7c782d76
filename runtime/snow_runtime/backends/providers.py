"""Opening a graph in ONNX Runtime with the execution providers that work here."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.backends.import_onnxruntime import import_onnxruntime
from snow_runtime.errors import GraphError, MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

_LOGGER = logging.getLogger(__name__)
CUDA: Final = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_FATAL = 4  # ONNX Runtime's log level: what goes wrong arrives as an exception instead
_FUSED_CONCAT = "QLinearConcat"
_TOO_NEW = ("Unsupported model IR version", "is under development and support for this is limited")


_WRONG_IN_HALVES: Final = ("WeightBiasQuantization",)
"""It writes biases in units of two scales' product, which underflows where these are halves: ONNX
Runtime 1.32's answers were then 40 points worse than those of the unoptimised graph."""


def open_session(
    path: Path,
    providers: Sequence[str] | None,
    threads: int | None,
    *,
    quantised_halves: bool = False,
) -> Any:
    """Make a session with the providers asked for, or with CUDA or else the CPU.

    Args:
        path: The ONNX file.
        providers: All of which must work here, in order of preference; None for the choice.
        threads: CPU threads within one call; None leaves the choice to ONNX Runtime.
        quantised_halves: Whether the graph is INT8 with its rest in half precision.

    Raises:
        GraphError: The file is no graph that this ONNX Runtime takes.
        MissingDependencyError: ONNX Runtime, or a provider asked for, is not there.
    """
    runtime = import_onnxruntime()
    available = runtime.get_available_providers()
    off = _WRONG_IN_HALVES if quantised_halves else ()
    if providers is not None:
        _check_providers(providers, available)
        session = _make(runtime, path, providers, threads, off)
        _check_providers(providers, session.get_providers())
        return session
    if CUDA in available:
        with contextlib.suppress(GraphError):  # CUDA or the graph may be to blame: the CPU tells
            session = _make(runtime, path, [CUDA, _CPU], threads, off)
            if CUDA in session.get_providers():
                return session
    session = _make(runtime, path, [_CPU], threads, off)
    if CUDA in available:
        _LOGGER.warning("ONNX Runtime has CUDA but cannot start it here; the CPU takes over.")
    return session


def _make(
    runtime: ModuleType,
    path: Path,
    providers: Sequence[str],
    threads: int | None,
    disabled: Sequence[str],
) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL
    # Without it, INT8 products saturate on x86 processors that lack VNNI: answers would be wrong.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    if CUDA in providers and hasattr(runtime, "preload_dlls"):
        # Finds the CUDA libraries of NVIDIA's wheels; prints what it misses, and not to stderr.
        with contextlib.redirect_stdout(sys.stderr):
            runtime.preload_dlls()

    unoptimised = {"disabled_optimizers": list(disabled)} if disabled else {}

    def start() -> Any:
        # Its fallback prints to stdout and tries other providers, whatever the cause.
        return runtime.InferenceSession(
            str(path),
            options,
            providers=list(providers),
            enable_fallback=0,
            **unoptimised,
        )

    try:
        try:
            return start()
        except Exception as error:
            if _FUSED_CONCAT not in str(error):
                raise
            # ONNX Runtime 1.31 fuses an INT8 Concat of a half-precision graph into an operator
            # that takes floats only; unfused, the graph runs and answers as it should.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
            return start()
    except Exception as error:  # ONNX Runtime's own classes share no base but this one
        raise unusable(path, error) from error


def _check_providers(wanted: Sequence[str], there: Sequence[str]) -> None:
    if missing := [provider for provider in wanted if provider not in there]:
        msg = (
            f"ONNX Runtime cannot use {', '.join(missing)} here, expected some of "
            f"{', '.join(there)}. For CUDA: {pip_install('gpu')}, and look whether "
            "nvidia-smi sees the GPU."
        )
        raise MissingDependencyError(msg)


def unusable(path: Path, error: Exception) -> GraphError:
    """Say why ONNX Runtime does not take a file."""
    if any(sign in str(error) for sign in _TOO_NEW):
        return GraphError(
            f"ONNX Runtime, which is installed, is too old for {str(path)!r}: {sentence(error)} "
            "Update it (pip install --upgrade onnxruntime), or export the graph again with "
            "'snow-deploy export'."
        )
    return GraphError(
        f"Cannot load {str(path)!r} as an ONNX graph: {sentence(error)} "
        "Expected a complete file made by 'snow-deploy export': copy or export it again."
    )


def sentence(error: Exception) -> str:
    """Give an error's text with one full stop after it."""
    return (str(error).strip() or type(error).__name__).rstrip(".") + "."
