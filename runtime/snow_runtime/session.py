"""Running a graph in ONNX Runtime.

Axes: B pictures of a batch; S the image size; C labels of a task.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Any, Protocol

from snow_runtime.agreement import TensorSpec, check_agreement
from snow_runtime.batch import check_batch
from snow_runtime.binding import BoundRuns
from snow_runtime.errors import GraphError, MissingDependencyError
from snow_runtime.import_onnxruntime import import_onnxruntime
from snow_runtime.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.batch import Batch

_LOGGER = logging.getLogger(__name__)
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_FATAL = 4  # ONNX Runtime's log level: what goes wrong arrives as an exception instead
_FUSED_CONCAT = "QLinearConcat"
_TOO_NEW = ("Unsupported model IR version", "is under development and support for this is limited")
_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class Session(Protocol):
    """What :class:`snow_runtime.model.Model` needs of a backend."""

    @property
    def batch_size(self) -> int | None:
        """How many pictures every call must bring; None if the graph takes any number."""

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """Map a batch, as the manifest's input has it, to float32 logits `[B, C]` by output."""

    def close(self) -> None:
        """Let go of the backend's memory."""


class OnnxSession:
    """A graph opened in ONNX Runtime, with its manifest read and found to agree.

    Several threads may call :meth:`run` at once.

    Args:
        path: the ONNX file.
        providers: ONNX Runtime's execution providers in order of preference, all of which must
            work here. None takes CUDA if it works, otherwise the CPU.
        threads: CPU threads within one call; None leaves the choice to ONNX Runtime.

    Attributes:
        manifest: what the graph says about itself.
        providers: the execution providers at work.

    Raises:
        GraphError: the file is missing, unreadable, no ONNX graph or one without a manifest.
        ManifestError: the manifest is malformed or contradicts the graph.
        MissingDependencyError: ONNX Runtime, or a provider asked for, is not there.
    """

    def __init__(
        self, path: Path, providers: Sequence[str] | None = None, threads: int | None = None
    ) -> None:
        _check_file(path)
        self._path = path
        self._session: Any = _open(path, providers, threads)
        try:
            inputs = [_spec(node) for node in self._session.get_inputs()]
            outputs = [_spec(node) for node in self._session.get_outputs()]
            metadata = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # names that are not UTF-8, outputs that are not tensors
            raise _unusable(path, error) from error
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self.manifest = _read_manifest(path, metadata)
        check_agreement(self.manifest, inputs, outputs)
        self._batch_size = inputs[0].shape[0]
        self._names = [task.output for task in self.manifest.tasks]
        self._bound: BoundRuns | None = None
        if _CUDA in self.providers:
            self._bound = self._bind("cuda")

    @property
    def copy_ms(self) -> float | None:
        """Milliseconds that the last run took for copies to a GPU and back; None on a CPU."""
        bound = self._bound
        return None if bound is None else bound.copy_ms

    @property
    def batch_size(self) -> int | None:
        """How many pictures every call must bring; None if the graph takes any number."""
        return self._batch_size

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """Compute every task's logits.

        Args:
            batch: float32 `[B, 3, S, S]`, normalised, finite; or, where the manifest's input is
                uint8, frames `[B, S, S, 3]`.

        Returns:
            By output name float32 `[B, C]`; new arrays at each call.

        Raises:
            InputError: the batch has another shape or dtype, or NaN or infinity in it.
            GraphError: the session is closed, or the computation failed.
        """
        # Held for this call, should another thread close meanwhile.
        session, bound = self._session, self._bound
        if session is None:
            raise GraphError(
                f"The graph {str(self._path)!r} is closed, expected an open one. Load it again."
            )
        check_batch(self.manifest, self._batch_size, batch)
        try:
            if bound is not None:
                outputs = bound(batch)
            else:
                outputs = session.run(self._names, {self.manifest.input.name: batch})
        except Exception as error:  # ONNX Runtime's own classes share no base but this one
            raise GraphError(
                f"The graph {str(self._path)!r} failed on a batch of shape {list(batch.shape)}: "
                f"{_sentence(error)} Try a smaller batch; if that fails too, export it again."
            ) from error
        logits = dict(zip(self._names, outputs, strict=True))
        self._check_logits(logits, len(batch))
        return logits

    def close(self) -> None:
        """Let go of ONNX Runtime's memory; calls under way still finish."""
        self._session = self._bound = None

    def _bind(self, device: str) -> BoundRuns:
        runtime, name = import_onnxruntime(), self.manifest.input.name
        return BoundRuns(runtime, self._session, device, name, self._names)

    def _check_logits(self, logits: dict[str, NDArray[np.float32]], count: int) -> None:
        """Catch a graph whose declared shapes are not those that it computes."""
        for task in self.manifest.tasks:
            shape, expected = list(logits[task.output].shape), [count, len(task.labels)]
            if shape != expected:
                raise GraphError(
                    f"The graph {str(self._path)!r} computed {task.output!r} of shape {shape}, "
                    f"expected {expected}. Export it again with 'snow-deploy export'."
                )


def _check_file(path: Path) -> None:
    what = f"Cannot load {str(path)!r}"
    advice = "expected an ONNX file made by 'snow-deploy export'. Check the path"
    if path.is_dir():
        raise GraphError(f"{what}: it is a folder, {advice}.")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except FileNotFoundError as error:
        raise GraphError(f"{what}: there is no such file, {advice}.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise GraphError(f"{what}: {error}, {advice} and its permissions.") from error
    if empty:
        raise GraphError(f"{what}: the file is empty, {advice}, or export it again.")


def _open(path: Path, providers: Sequence[str] | None, threads: int | None) -> Any:
    """Make the session with the providers asked for, or with CUDA or else the CPU."""
    runtime = import_onnxruntime()
    available = runtime.get_available_providers()
    if providers is not None:
        _check_providers(providers, available)
        session = _make(runtime, path, providers, threads)
        _check_providers(providers, session.get_providers())
        return session
    if _CUDA in available:
        with contextlib.suppress(GraphError):  # CUDA or the graph may be to blame: the CPU tells
            session = _make(runtime, path, [_CUDA, _CPU], threads)
            if _CUDA in session.get_providers():
                return session
    session = _make(runtime, path, [_CPU], threads)
    if _CUDA in available:
        _LOGGER.warning("ONNX Runtime has CUDA but cannot start it here; the CPU takes over.")
    return session


def _make(runtime: ModuleType, path: Path, providers: Sequence[str], threads: int | None) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL
    # Without it, INT8 products saturate on x86 processors that lack VNNI: answers would be wrong.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    if _CUDA in providers and hasattr(runtime, "preload_dlls"):
        # Finds the CUDA libraries of NVIDIA's wheels; prints what it misses, and not to stderr.
        with contextlib.redirect_stdout(sys.stderr):
            runtime.preload_dlls()

    def start() -> Any:
        # Its fallback prints to stdout and tries other providers, whatever the cause.
        return runtime.InferenceSession(
            str(path), options, providers=list(providers), enable_fallback=0
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
        raise _unusable(path, error) from error


def _check_providers(wanted: Sequence[str], there: Sequence[str]) -> None:
    if missing := [provider for provider in wanted if provider not in there]:
        raise MissingDependencyError(
            f"ONNX Runtime cannot use {', '.join(missing)} here, expected some of "
            f"{', '.join(there)}. For CUDA: pip install 'snow-deploy[gpu]', and look whether "
            "nvidia-smi sees the GPU."
        )


def _spec(node: Any) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else None for axis in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)


def _read_manifest(path: Path, metadata: dict[str, str]) -> Manifest:
    if METADATA_KEY not in metadata:
        raise GraphError(
            f"The graph {str(path)!r} carries no manifest: its metadata lacks {METADATA_KEY!r}, "
            "expected a graph made by 'snow-deploy export'. Export it with that command."
        )
    return Manifest.from_json(metadata[METADATA_KEY])


def _unusable(path: Path, error: Exception) -> GraphError:
    if any(sign in str(error) for sign in _TOO_NEW):
        return GraphError(
            f"ONNX Runtime, which is installed, is too old for {str(path)!r}: {_sentence(error)} "
            "Update it (pip install --upgrade onnxruntime), or export the graph again with "
            "'snow-deploy export'."
        )
    return GraphError(
        f"Cannot load {str(path)!r} as an ONNX graph: {_sentence(error)} "
        "Expected a complete file made by 'snow-deploy export': copy or export it again."
    )


def _sentence(error: Exception) -> str:
    """Give an error's text with one full stop after it."""
    return (str(error).strip() or type(error).__name__).rstrip(".") + "."
