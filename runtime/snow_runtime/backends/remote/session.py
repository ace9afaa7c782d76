"""A server's model as a session.

Axes: B pictures of a batch; C labels of a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.backends.batch import check_batch
from snow_runtime.backends.remote.connection import ServerConnection
from snow_runtime.errors import ManifestError, RemoteError
from snow_runtime.graph.agreement import TensorSpec, check_agreement
from snow_runtime.graph.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch
    from snow_runtime.backends.remote.address import RemoteAddress

_DTYPES: Final = {"TYPE_FP32": "float32", "TYPE_FP16": "float16", "TYPE_UINT8": "uint8"}


class RemoteSession:
    """A model that a server has, asked like a graph that lies here.

    Several threads may call :meth:`run` at once. The version is chosen once, so that a new one on
    the server changes nothing here until the model is opened again.

    Args:
        address: Where it is served.

    Attributes:
        manifest: What the model is, by the server's config.
        version: Version that is asked.

    Raises:
        RemoteError: The server cannot be asked, does not have the model, or its config carries no
            manifest.
        ManifestError: The manifest is malformed, or contradicts the config.
        InputError: A certificate cannot be read.
        MissingDependencyError: Tritonclient or gRPC is not installed.
    """

    def __init__(self, address: RemoteAddress) -> None:
        self._address = address
        self._connection = ServerConnection(address)
        try:
            self.version = address.version or self._newest()
            config = self._connection.config(self.version)
            self.manifest = self._read_manifest(config)
        except BaseException:
            self._connection.close()
            raise
        self._max_batch = int(config.max_batch_size)
        self._outputs = list(self.manifest.outputs)
        (given,) = (each for each in config.input if each.name == self.manifest.input.name)
        self._batch_size = None if self._max_batch else int(given.dims[0])

    @property
    def batch_size(self) -> int | None:
        """How many pictures every call must bring; None if the server takes any number."""
        return self._batch_size

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """Let the server compute every task's logits, and the features if the model gives them.

        Args:
            batch: float32 `[B, 3, S, S]`, normalised, finite; or, where the manifest's input is
                uint8, frames `[B, S, S, 3]`. More than the server takes at once are sent in parts.

        Returns:
            Table by output name: float32 `[B, C]`, or `[B, F]`; new arrays at each call.

        Raises:
            InputError: The batch has another shape or dtype, or NaN or infinity in it.
            RemoteError: The server cannot be reached, is late, or could not compute it; or this is
                closed.
        """
        check_batch(self.manifest, self._batch_size, batch)
        most = self._max_batch or len(batch)
        parts = [self._ask(batch[start : start + most]) for start in range(0, len(batch), most)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def close(self) -> None:
        """Let go of the connection; calling it afterwards raises RemoteError."""
        self._connection.close()

    def _newest(self) -> str:
        numbers = [int(each) for each in self._connection.versions() if each.isdecimal()]
        if not numbers:
            msg = f"The server has no version of {self._address} ready. Load the model there."
            raise RemoteError(msg)
        return str(max(numbers))

    def _read_manifest(self, config: Any) -> Manifest:
        text = config.parameters[f"{METADATA_KEY}.{self.version}"].string_value
        if not text:
            msg = (
                f"The model at {self._address} carries no manifest of version {self.version}, so "
                "nobody here knows its labels and preprocessing. Expected one that was put there "
                "by 'snow-deploy triton'."
            )
            raise RemoteError(msg)
        manifest = Manifest.from_json(text)
        batching = config.max_batch_size > 0
        inputs, outputs = (
            [_spec(each, batching=batching) for each in entries]
            for entries in (config.input, config.output)
        )
        own = [each for each in inputs if each.name == manifest.input.name] or inputs
        try:
            check_agreement(manifest, own, outputs)
        except ManifestError as error:
            msg = f"The config of the model at {self._address} is not of its manifest. {error}"
            raise ManifestError(msg) from error
        return manifest

    def _ask(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        entry = self.manifest.input
        response = self._connection.infer(self.version, entry.name, batch, self._outputs)
        raw = response.raw_output_contents
        found = {each.name: index for index, each in enumerate(response.outputs)}
        tables = {}
        for name, width in self.manifest.outputs.items():
            index, size = found.get(name, len(raw)), 4 * len(batch) * width
            shape = list(response.outputs[index].shape) if index < len(raw) else []
            if shape != [len(batch), width] or len(raw[index]) != size:
                seen = f"{shape} in {len(raw[index])} bytes" if index < len(raw) else "nothing"
                msg = (
                    f"The server at {self._address} answered {seen} for {name!r}, expected "
                    f"[{len(batch)}, {width}] in {size} bytes. Open the model again, and look "
                    "whether it was exchanged."
                )
                raise RemoteError(msg)
            tables[name] = np.frombuffer(raw[index], "<f4").reshape(shape).astype(np.float32)
        return tables


def _spec(each: Any, *, batching: bool) -> TensorSpec:
    names = type(each).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    kind = names[each.data_type].name
    axes = tuple(int(axis) if axis > 0 else None for axis in each.dims)
    return TensorSpec(each.name, _DTYPES.get(kind, kind), (None, *axes) if batching else axes)
