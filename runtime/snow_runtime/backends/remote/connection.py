"""Calls of the V2 inference protocol by gRPC, and what their failures mean."""

from __future__ import annotations

import os
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.closing import Closing
from snow_runtime.errors import InputError, MissingDependencyError, RemoteError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from types import ModuleType

    from snow_runtime.backends.batch import Batch
    from snow_runtime.backends.remote.address import RemoteAddress

_KINDS: Final = {"float32": "FP32", "uint8": "UINT8"}  # the protocol's words for them
_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 1 << 28),  # features of a large batch are a few megabytes
    # A connection that failed is not shared with the one after it, which so begins at once.
    ("grpc.use_local_subchannel_pool", 1),
)


def import_grpc() -> ModuleType:
    """Import the protocol's client with its definitions.

    Unless the user says otherwise, gRPC then writes nothing to standard error: what goes wrong
    arrives as an error.

    Raises:
        MissingDependencyError: Tritonclient or gRPC is not installed.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # looked at once, at the first import
    try:
        import tritonclient.grpc as found
    except (ImportError, RuntimeError) as error:  # RuntimeError: it is there without gRPC
        msg = (
            f"Tritonclient asks a server, and it cannot be imported: {error}. Install it: "
            f"{pip_install('remote')}."
        )
        raise MissingDependencyError(msg) from error
    module: ModuleType = found
    return module


class ServerConnection(Closing):
    """A server, asked about one model; several threads may call at once.

    A connection that breaks is made anew by the next call.

    Args:
        address: Where the model is served.

    Raises:
        InputError: A certificate cannot be read.
        MissingDependencyError: Tritonclient or gRPC is not installed.
    """

    def __init__(self, address: RemoteAddress) -> None:
        self._protocol = import_grpc()
        self._address = address
        self._credentials = self._read_credentials() if address.tls else None
        token = address.options.token
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._lock = threading.Lock()
        self._channel: Any = None
        self._closed = False

    def versions(self) -> list[str]:
        """Give the versions of the model that are served.

        Raises:
            RemoteError: The server cannot be asked, or does not have the model or version.
        """
        requests = self._protocol.service_pb2
        address = self._address
        request = requests.ModelMetadataRequest(name=address.model, version=address.version or "")
        return list(self._call("ModelMetadata", request).versions)

    def config(self, version: str) -> Any:
        """Give the model's configuration, a `ModelConfig`.

        Raises:
            RemoteError: As for :meth:`versions`.
        """
        requests = self._protocol.service_pb2
        request = requests.ModelConfigRequest(name=self._address.model, version=version)
        return self._call("ModelConfig", request).config

    def infer(self, version: str, name: str, batch: Batch, outputs: list[str]) -> Any:
        """Ask about a batch; return the protocol's `ModelInferResponse`.

        Args:
            version: Version of the model.
            name: Name of its input.
            batch: What the input gets.
            outputs: Names of the outputs wanted.

        Raises:
            RemoteError: As for :meth:`versions`, or the server could not compute it.
        """
        request = self._protocol.service_pb2.ModelInferRequest(
            model_name=self._address.model, model_version=version
        )
        request.inputs.add(name=name, datatype=_KINDS[str(batch.dtype)], shape=batch.shape)
        little_endian = batch.astype(batch.dtype.newbyteorder("<"), copy=False)
        request.raw_input_contents.append(little_endian.tobytes())
        for output in outputs:
            request.outputs.add(name=output)
        return self._call("ModelInfer", request)

    def close(self) -> None:
        """Let go of the connection; calls under way fail."""
        with self._lock:
            channel, self._channel, self._closed = self._channel, None, True
        if channel is not None:
            channel.close()

    def _call(self, method: str, request: Any) -> Any:
        grpc = self._protocol.grpc
        channel = self._connected()
        stub = self._protocol.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        timeout_s = self._address.options.timeout_s
        try:
            return getattr(stub, method)(request, timeout=timeout_s, metadata=self._metadata)
        except (grpc.RpcError, ValueError) as error:  # ValueError: it was closed meanwhile
            if self._closed:
                raise self._closed_error() from None
            if isinstance(error, ValueError):
                raise
            code, details = error.code().name, error.details()
            if code == "UNAVAILABLE":
                self._forget(channel)
            raise RemoteError(self._reason(code, str(details))) from None

    def _connected(self) -> Any:
        grpc = self._protocol.grpc
        with self._lock:
            if self._closed:
                raise self._closed_error()
            if self._channel is None:
                options: list[tuple[str, object]] = list(_OPTIONS)
                name = self._address.options.tls_host
                if name is not None:
                    options.append(("grpc.ssl_target_name_override", name))
                target = self._address.target
                self._channel = (
                    grpc.insecure_channel(target, options)
                    if self._credentials is None
                    else grpc.secure_channel(target, self._credentials, options)
                )
            return self._channel

    def _forget(self, channel: Any) -> None:
        """Connect anew next time; other threads' calls go on on the old connection."""
        with self._lock:
            if self._channel is channel:
                self._channel = None

    def _closed_error(self) -> RemoteError:
        msg = f"The connection to {self._address} is closed, expected an open one. Open it again."
        return RemoteError(msg)

    def _reason(self, code: str, details: str) -> str:
        address, options = self._address, self._address.options
        said = textwrap.shorten(details, 300, placeholder=" …").rstrip(".") or code
        where = f"{address.target} was asked for {address.model!r}"
        return {
            "UNAVAILABLE": (
                f"The server {where} and cannot be reached, or is not ready: {said}. Look whether "
                "it runs and whether the address is right; the next call tries again."
            ),
            "DEADLINE_EXCEEDED": (
                f"The server {where} and has not answered within {options.timeout_s:g} s. Look "
                "whether it is overloaded, or allow more with ?timeout=SECONDS."
            ),
            "NOT_FOUND": (
                f"The server {where} and does not have it, or not in this version: {said}. Correct "
                "the address, or load the model there."
            ),
            "UNAUTHENTICATED": (
                f"The server {where} and wants to know who asks: {said}. Give ?token={{env:NAME}}."
            ),
            "PERMISSION_DENIED": (
                f"The server {where} and refuses this client: {said}. Give another token or "
                "certificate."
            ),
            "UNIMPLEMENTED": (
                f"The server {where} and does not speak the V2 inference protocol: {said}. Give "
                "the address of Triton's gRPC port, 8001 as a rule."
            ),
        }.get(
            code,
            f"The server {where} and failed ({code}): {said}. Look into the server's log.",
        )

    def _read_credentials(self) -> Any:
        options = self._address.options
        ca, key, certificate = map(_read, (options.ca, options.key, options.certificate))
        grpc = self._protocol.grpc
        return grpc.ssl_channel_credentials(ca, key, certificate)


def _read(path: str | os.PathLike[str] | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        msg = f"{str(path)!r} cannot be read as a certificate or key: {error}. Correct the path."
        raise InputError(msg) from error
    if b"-----BEGIN " not in content:
        msg = f"{str(path)!r} holds no certificate or key: expected a PEM file. Name another."
        raise InputError(msg)
    return content
