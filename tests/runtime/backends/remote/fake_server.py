"""A server of the V2 inference protocol that can misbehave, made from its definitions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from snow_runtime.backends.onnxruntime_session import OnnxSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

_TYPES = {"FP32": np.float32, "UINT8": np.uint8}


class FakeServer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Serves a repository's graphs by ONNX Runtime.

    Attributes:
        port: Where it listens on loopback.
        asked: Versions and shapes of the calls that it computed.
        metadata: What came along with the last call.
        spoil: Changes an answer before it is sent.
        fails: Status and text of the next answers in its place.
        refused: How many calls have got that.
        hold: Calls wait until it is set.
    """

    def __init__(
        self, repository: Path, port: int = 0, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.repository = repository
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self.metadata: dict[str, str] = {}
        self.spoil: Callable[[Any], None] = lambda _: None
        self.fails: tuple[grpc.StatusCode, str] | None = None
        self.refused = 0
        self.hold = threading.Event()
        self.hold.set()
        self._sessions: dict[Path, OnnxSession] = {}
        self._pool = ThreadPoolExecutor(4)
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        address = f"127.0.0.1:{port}"
        self.port = (
            self._server.add_insecure_port(address)
            if credentials is None
            else self._server.add_secure_port(address, credentials)
        )
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.stop(0).wait()
        self._pool.shutdown()

    def address(self, model: str = "graph", scheme: str = "grpc") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/{model}"

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's
        self._begin(context)
        model = self._model(request.name, context)
        there = sorted(each.name for each in model.iterdir() if each.name.isdecimal())
        if request.version and request.version not in there:
            context.abort(grpc.StatusCode.NOT_FOUND, "Request for unknown model: no such version")
        return service_pb2.ModelMetadataResponse(name=request.name, versions=there)

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._begin(context)
        model = self._model(request.name, context)
        if not (model / request.version).is_dir():
            context.abort(grpc.StatusCode.NOT_FOUND, "Request for unknown model: no such version")
        config = text_format.Parse(
            (model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
        )
        return service_pb2.ModelConfigResponse(config=config)

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._begin(context)
        self.hold.wait()
        path = self._model(request.model_name, context) / request.model_version / "model.onnx"
        session = self._sessions.setdefault(path, OnnxSession(path))
        (given,), (content,) = request.inputs, request.raw_input_contents
        batch: Any = np.frombuffer(content, _TYPES[given.datatype]).reshape(given.shape)
        self.asked.append((request.model_version, batch.shape))
        logits = session.run(batch)
        response = service_pb2.ModelInferResponse(
            model_name=request.model_name, model_version=request.model_version
        )
        for wanted in request.outputs:
            values = logits[wanted.name]
            response.outputs.add(name=wanted.name, datatype="FP32", shape=values.shape)
            response.raw_output_contents.append(values.tobytes())
        self.spoil(response)
        return response

    def _begin(self, context: Any) -> None:
        self.metadata = dict(context.invocation_metadata())
        if self.fails is not None:
            self.refused += 1
            context.abort(*self.fails)

    def _model(self, name: str, context: Any) -> Path:
        model = self.repository / name
        if not (model / "config.pbtxt").is_file():
            text = f"Request for unknown model: '{name}' is not found"
            context.abort(grpc.StatusCode.NOT_FOUND, text)
        return model
