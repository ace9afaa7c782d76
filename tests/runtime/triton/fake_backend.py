"""What Triton's `triton_python_backend_utils` offers a model, as far as ours uses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


@dataclass
class Tensor:
    name: str
    value: Any

    def as_numpy(self) -> Any:
        return self.value


class TritonError:
    INVALID_ARG = 3

    def __init__(self, message: str, code: int) -> None:
        self.message = message
        self.code = code


class Response:
    def __init__(
        self, tensors: list[Tensor] | None = None, error: TritonError | None = None
    ) -> None:
        self.outputs = {each.name: each.value for each in tensors or []}
        self.error = error


@dataclass
class Request:
    inputs: dict[str, Any]
    wanted: list[str] = field(default_factory=list)

    def requested_output_names(self) -> list[str]:
        return self.wanted


def module() -> ModuleType:
    made: Any = ModuleType("triton_python_backend_utils")
    made.Tensor, made.TritonError, made.InferenceResponse = Tensor, TritonError, Response

    def get_input(request: Request, name: str) -> Tensor | None:
        return Tensor(name, request.inputs[name]) if name in request.inputs else None

    made.get_input_tensor_by_name = get_input
    found: ModuleType = made
    return found
