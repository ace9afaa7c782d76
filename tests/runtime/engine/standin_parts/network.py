"""Loggers, networks and the parser: what a build starts from."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.runtime.engine.standin_parts.gate import Gated
from tests.runtime.engine.standin_parts.graph import (
    Graph,
    Operation,
    Tensor,
    UnreadableError,
    read_graph,
)

MEMBERS = {"Float": "FLOAT", "Half": "HALF"}
"""Members of `DataType` that the layer lists call by another word."""


def need(logger: Any) -> None:
    if not isinstance(logger, ILogger) or "_values" not in vars(logger):
        msg = "incompatible constructor arguments: a logger, initialised, is needed"
        raise TypeError(msg)


def start(instance: Gated, logger: ILogger) -> None:
    """Begin a builder or a runtime."""
    standin = instance._standin
    need(logger)
    if standin.behaviour.gpu is None and not standin._rtx:
        msg = "pybind11::init(): factory function returned nullptr"
        raise TypeError(msg)
    standin.start(instance, logger)


class ILogger(Gated):
    def log(self, severity: Any, msg: str) -> None:
        msg = 'Tried to call pure virtual function "ILogger::log"'
        raise NotImplementedError(msg)


class IProgressMonitor(Gated):
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class IHostMemory(Gated, bytes):
    def __new__(cls, content: bytes) -> Any:
        return bytes.__new__(cls, content)

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._values["nbytes"] = bytes.__len__(content)

    def __len__(self) -> int:
        msg = "object of type 'IHostMemory' has no len()"
        raise TypeError(msg)

    def __bool__(self) -> bool:
        return True


class ITensor(Gated):
    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        dtype = self._standin.member("DataType", MEMBERS.get(tensor.dtype, tensor.dtype.upper()))
        self._values = {"name": tensor.name, "shape": tensor.shape, "dtype": dtype}


class ILayer(Gated):
    def __init__(self, layer: Operation) -> None:
        super().__init__()
        self._layer = layer
        kind = self._standin.member("LayerType", layer.kind)
        self._values = {"name": layer.name, "type": kind, "metadata": layer.metadata}
        self._values |= {"num_inputs": len(layer.inputs), "num_outputs": len(layer.outputs)}

    def get_input(self, index: int) -> Any:
        return self._standin.make("ITensor", self._layer.inputs[index])

    def get_output(self, index: int) -> Any:
        return self._standin.make("ITensor", self._layer.outputs[index])


class INetworkDefinition(Gated):
    _data: ClassVar[dict[str, Any]] = {"name": "Unnamed Network 0"}

    def __init__(self, flags: int) -> None:
        super().__init__()
        self._values["flags"] = flags
        self._graph = Graph()

    @property
    def num_layers(self) -> int:
        return len(self._graph.layers)

    @property
    def num_inputs(self) -> int:
        return len(self._graph.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._graph.outputs)

    def get_layer(self, index: int) -> Any:
        return self._standin.make("ILayer", self._graph.layers[index])

    def get_input(self, index: int) -> Any:
        return self._standin.make("ITensor", self._graph.inputs[index])

    def get_output(self, index: int) -> Any:
        return self._standin.make("ITensor", self._graph.outputs[index])


class ParserError(Gated):
    def __init__(self, error: UnreadableError) -> None:
        super().__init__()
        self._error = error

    def desc(self) -> str:
        return self._error.desc

    def node_name(self) -> str:
        return self._error.node

    def node_operator(self) -> str:
        return self._error.operator


class OnnxParser(Gated):
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        super().__init__()
        need(logger)
        self._network, self._logger = network, logger
        self._errors: list[UnreadableError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._standin.make("ParserError", self._errors[index])

    def parse(self, model: bytes) -> bool:
        try:
            self._network._graph = read_graph(model)
        except UnreadableError as error:
            self._errors.append(error)
            self._logger.log(self._standin.member("ILogger.Severity", "ERROR"), error.desc)
            return False
        return True


class IOptimizationProfile(Gated):
    def __init__(self) -> None:
        super().__init__()
        self._shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        self._shapes[input] = tuple(min), tuple(opt), tuple(max)

    def get_shape(self, input: str) -> list[tuple[int, ...]]:  # noqa: A002
        return list(self._shapes[input])

    def _is_valid(self) -> bool:
        return all(
            least <= best <= most
            for shapes in self._shapes.values()
            for least, best, most in zip(*shapes, strict=True)
        )
