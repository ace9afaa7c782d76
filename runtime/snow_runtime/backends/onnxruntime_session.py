"""Running a graph in ONNX Runtime.

Axes: B pictures of a batch; S the image size; C labels of a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snow_runtime.backends.batch import check_batch
from snow_runtime.backends.import_onnxruntime import import_onnxruntime
from snow_runtime.backends.io_binding import BoundRuns
from snow_runtime.backends.providers import CUDA, open_session, sentence, unusable
from snow_runtime.errors import GraphError
from snow_runtime.graph.agreement import TensorSpec, check_agreement
from snow_runtime.graph.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class OnnxSession:
    """A graph opened in ONNX Runtime, with its manifest read and found to agree.

    Several threads may call :meth:`run` at once.

    Args:
        path: The ONNX file.
        providers: ONNX Runtime's execution providers in order of preference, all of which must
            work here. None takes CUDA if it works, otherwise the CPU.
        threads: CPU threads within one call; None leaves the choice to ONNX Runtime.
        manifest: What the graph is; None where the file says it.

    Attributes:
        manifest: What the graph is.
        providers: The execution providers at work.

    Raises:
        GraphError: The file is missing, unreadable, no ONNX graph or one without a manifest.
        ManifestError: The manifest is malformed or contradicts the graph.
        MissingDependencyError: ONNX Runtime, or a provider asked for, is not there.
    """

    def __init__(
        self,
        path: Path,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        manifest: Manifest | None = None,
    ) -> None:
        _check_file(path)
        self._path = path
        self._session: Any = open_session(path, providers, threads)
        manifest = manifest or _manifest_of(self._session, path)
        if manifest.quantisation is not None and manifest.quantisation.rest == "fp16":
            self._session = open_session(path, providers, threads, quantised_halves=True)
        try:
            inputs = [_spec(node) for node in self._session.get_inputs()]
            outputs = [_spec(node) for node in self._session.get_outputs()]
        except Exception as error:  # names that are not UTF-8, outputs that are not tensors
            raise unusable(path, error) from error
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self.manifest = manifest
        check_agreement(self.manifest, inputs, outputs)
        self._batch_size = inputs[0].shape[0]
        self._names = list(self.manifest.outputs)
        self._bound: BoundRuns | None = None
        if CUDA in self.providers:
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
        """Compute every task's logits, and the features if the graph gives them.

        Args:
            batch: float32 `[B, 3, S, S]`, normalised, finite; or, where the manifest's input is
                uint8, frames `[B, S, S, 3]`.

        Returns:
            Table by output name: float32 `[B, C]`, or `[B, F]`; new arrays at each call.

        Raises:
            InputError: The batch has another shape or dtype, or NaN or infinity in it.
            GraphError: The session is closed, or the computation failed.
        """
        # Held for this call, should another thread close meanwhile.
        session, bound = self._session, self._bound
        if session is None:
            msg = f"The graph {str(self._path)!r} is closed, expected an open one. Load it again."
            raise GraphError(msg)
        check_batch(self.manifest, self._batch_size, batch)
        try:
            if bound is not None:
                outputs = bound(batch)
            else:
                outputs = session.run(self._names, {self.manifest.input.name: batch})
        except Exception as error:  # ONNX Runtime's own classes share no base but this one
            msg = (
                f"The graph {str(self._path)!r} failed on a batch of shape {list(batch.shape)}: "
                f"{sentence(error)} Try a smaller batch; if that fails too, export it again."
            )
            raise GraphError(msg) from error
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
        for output, width in self.manifest.outputs.items():
            shape, expected = list(logits[output].shape), [count, width]
            if shape != expected:
                msg = (
                    f"The graph {str(self._path)!r} computed {output!r} of shape {shape}, "
                    f"expected {expected}. Export it again with 'snow-deploy export'."
                )
                raise GraphError(msg)


def _check_file(path: Path) -> None:
    what = f"Cannot load {str(path)!r}"
    advice = "expected an ONNX file made by 'snow-deploy export'. Check the path"
    if path.is_dir():
        msg = f"{what}: it is a folder, {advice}."
        raise GraphError(msg)
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except FileNotFoundError as error:
        msg = f"{what}: there is no such file, {advice}."
        raise GraphError(msg) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        msg = f"{what}: {error}, {advice} and its permissions."
        raise GraphError(msg) from error
    if empty:
        msg = f"{what}: the file is empty, {advice}, or export it again."
        raise GraphError(msg)


def _spec(node: Any) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else None for axis in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)


def _manifest_of(session: Any, path: Path) -> Manifest:
    try:
        metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # names that are not UTF-8
        raise unusable(path, error) from error
    if METADATA_KEY not in metadata:
        msg = (
            f"The graph {str(path)!r} carries no manifest: its metadata lacks {METADATA_KEY!r}, "
            "expected a graph made by 'snow-deploy export'. Export it with that command."
        )
        raise GraphError(msg)
    return Manifest.from_json(metadata[METADATA_KEY])
