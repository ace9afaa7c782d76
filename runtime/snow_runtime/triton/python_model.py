"""The model of Triton's Python backend: pictures as they are in, labels out.

A repository's model.py is nothing but this class under its name. It needs no torch, and Triton's
own `triton_python_backend_utils` only when it works.

Axes: B pictures of a request; C labels of a task.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.backends.batch import check_batch
from snow_runtime.confidence.probabilities import to_probabilities
from snow_runtime.errors import InputError, SnowError
from snow_runtime.model import load
from snow_runtime.pictures.prepared import run_in_parts
from snow_runtime.pictures.preprocessing import decode_image
from snow_runtime.triton.config import (
    PICTURE,
    THREADS_KEY,
    label_output,
    probabilities_output,
)
from snow_runtime.triton.served import ENGINE_NAME, GRAPH_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch
    from snow_runtime.model import Model


@dataclass
class _Asked:
    """A request: what the graph is to read of it, or why there is nothing."""

    wanted: Collection[str]
    batch: Batch | None = None
    error: str = ""


class TritonPythonModel:
    """What Triton's Python backend calls; a repository of ``snow-deploy triton`` imports it.

    A request brings `picture`, bytes `[B, 1]` of JPEG, PNG or other files, or the graph's own
    input as :func:`snow_runtime.prepare` makes it. It gets the graph's outputs, and of each task
    `TASK.label`, bytes `[B, 1]` in UTF-8, and `TASK.probabilities`, float32 `[B, C]`. Requests
    that come together are computed together; one that cannot be answered costs no other one.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the graph or the engine beside model.py, and compare it with its manifest.

        Args:
            args: What Triton says of this instance: `model_config` as JSON, `model_repository`,
                `model_version`, `model_instance_kind` and `model_instance_device_id` among it.

        Raises:
            SnowError: It cannot be loaded, or answers otherwise than its manifest says.
        """
        on_cpu = args.get("model_instance_kind") == "CPU"
        if not on_cpu:
            _choose_gpu(int(args.get("model_instance_device_id", 0)))
        folder = Path(args["model_repository"]) / args["model_version"]
        path = folder / GRAPH_NAME
        if path.exists():
            providers = ["CPUExecutionProvider"] if on_cpu else None
            self._model: Model = load(path, providers, _threads(args))
        else:
            self._model = load(folder / ENGINE_NAME)
        self._model.self_check()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request: its outputs, or an error of its own.

        Args:
            requests: Triton's `InferenceRequest` objects.

        Returns:
            Its `InferenceResponse` objects, in the same order.
        """
        import triton_python_backend_utils as backend

        asked = [self._read(backend, request) for request in requests]
        batches = [each.batch for each in asked if each.batch is not None]
        computed: dict[str, NDArray[np.float32]] = {}
        try:
            computed = self._run(batches)
        except SnowError as error:
            for each in asked:
                each.error = each.error or str(error)
                each.batch = None
        responses, start = [], 0
        for each in asked:
            if each.batch is None:
                responses.append(_failure(backend, each.error))
                continue
            end = start + len(each.batch)
            rows = {name: table[start:end] for name, table in computed.items()}
            responses.append(self._answer(backend, rows, each.wanted))
            start = end
        return responses

    def finalize(self) -> None:
        """Let go of the model's memory."""
        self._model.close()

    def _read(self, backend: Any, request: Any) -> _Asked:
        wanted = set(request.requested_output_names())
        pictures, tensor = (
            backend.get_input_tensor_by_name(request, name)
            for name in (PICTURE, self._model.manifest.input.name)
        )
        try:
            return _Asked(wanted, self._batch(pictures, tensor))
        except SnowError as error:
            return _Asked(wanted, error=str(error))
        except MemoryError:  # of one huge picture, perhaps
            return _Asked(wanted, error="The pictures need more memory than there is. Send less.")

    def _batch(self, pictures: Any, tensor: Any) -> Batch:
        """Turn a request's input into a batch.

        Raises:
            InputError: There is none or both, or it is no picture or no batch.
        """
        name = self._model.manifest.input.name
        if (pictures is None) == (tensor is None):
            seen = "neither" if tensor is None else "both"
            msg = f"The request brings {seen} of {PICTURE!r} and {name!r}. Send one of them."
            raise InputError(msg)
        if pictures is not None:
            files = pictures.as_numpy().reshape(-1)
            return self._model.prepare([decode_image(bytes(file)) for file in files]).batch
        batch: Batch = tensor.as_numpy()
        check_batch(self._model.manifest, None, batch)
        return batch

    def _run(self, batches: list[Batch]) -> dict[str, NDArray[np.float32]]:
        if not batches:
            return {}
        whole = batches[0] if len(batches) == 1 else np.concatenate(batches)
        return run_in_parts(self._model.session, np.ascontiguousarray(whole))

    def _answer(
        self, backend: Any, outputs: dict[str, NDArray[np.float32]], wanted: Collection[str]
    ) -> Any:
        found: dict[str, NDArray[Any]] = dict(outputs)
        try:
            for task in self._model.manifest.tasks:
                label, shares = label_output(task.name), probabilities_output(task.name)
                if wanted and not {label, shares} & set(wanted):
                    continue
                found[shares] = to_probabilities(
                    outputs[task.output], task.answers, task.temperature
                )
                best = found[shares].argmax(axis=1)
                found[label] = np.array([[task.labels[index].encode()] for index in best], object)
        except SnowError as error:  # logits that are no finite numbers
            return _failure(backend, str(error))
        tensors = [
            backend.Tensor(name, np.ascontiguousarray(value))
            for name, value in found.items()
            if not wanted or name in wanted
        ]
        return backend.InferenceResponse(tensors)


def _failure(backend: Any, message: str) -> Any:
    error = backend.TritonError(message, backend.TritonError.INVALID_ARG)
    return backend.InferenceResponse(error=error)


def _threads(args: Mapping[str, str]) -> int | None:
    parameters = json.loads(args["model_config"]).get("parameters", {})
    text = parameters.get(THREADS_KEY, {}).get("string_value", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _choose_gpu(number: int) -> None:
    """Let this process, which serves one instance, see the GPU that Triton gave it."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else []
    if number < len(names):
        os.environ["CUDA_VISIBLE_DEVICES"] = names[number].strip()
    elif not names:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number)
