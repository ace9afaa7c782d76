"""What the exporter has no rule for, written by torch.onnx piece by piece."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from snow_export.emit import OPSET, emit, pieces_of
from snow_export.errors import ExportError
from snow_export.network import SharedNetwork, flatten_network
from snow_runtime.graph.half_precision import to_fp16
from snow_runtime.graph.manifest import InputEntry, Preprocessing
from tests.export.emit.test_operators import Alone

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 9


class Several(nn.Module):
    """Operations without a rule, so that torch.onnx is asked for each of them once."""

    def __init__(self) -> None:
        super().__init__()
        self.soft = nn.Softplus()
        self.again = nn.Softplus()
        self.padded = nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.padded(self.soft(x)))
        x = x + functional.normalize(x, dim=1)
        largest = torch.max(x, 1, keepdim=True)[0]  # a part of a tuple
        x = torch.cat([x, largest, functional.glu(x, 1)], 1)
        return x.mean((2, 3))


class More(nn.Module):
    """Others, of which each takes seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.gelu = nn.GELU("tanh")
        self.norm = nn.LocalResponseNorm(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.gelu(x))
        spread = torch.std(x, dim=(2, 3), keepdim=True)
        x = functional.pad(x * spread, (1, 1, 1, 1), mode="circular")
        return x.mean((2, 3))


def written(tried: Callable[[Tensor], Tensor]) -> tuple[onnx.ModelProto, SharedNetwork]:
    torch.manual_seed(0)
    network = SharedNetwork(Alone(tried).eval(), [], ["source"])
    flat = flatten_network(network)
    images = torch.randn(3, 3, SIZE, SIZE)
    return emit(flat, network, InputEntry(), Preprocessing.for_size(SIZE), images), network


def answers(model: onnx.ModelProto, images: Tensor) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"image": images.numpy()})[0]


@pytest.fixture(scope="module")
def asked() -> list[Any]:
    """List what torch.onnx was asked for by `several`."""
    return []


@pytest.fixture(scope="module")
def several(asked: list[Any]) -> tuple[onnx.ModelProto, SharedNetwork]:
    pytest.importorskip("onnxscript")
    export = torch.onnx.export

    def note(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        return export(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", note)
        return written(Several())


@pytest.mark.parametrize("batch", [1, 5])
def test_it_answers_as_torch_at_any_batch(several: Any, batch: int) -> None:
    model, network = several
    answers_as_torch(model, network, batch)


@pytest.mark.slow
def test_others_answer_as_torch() -> None:
    pytest.importorskip("onnxscript")
    model, network = written(More())
    onnx.checker.check_model(model, full_check=True)
    kinds = {each.partition(" ")[2] for each in pieces_of(model)}
    assert kinds == {"(GELU)", "(LocalResponseNorm)", "(std)", "(pad)"}
    answers_as_torch(model, network, 5)


def answers_as_torch(model: onnx.ModelProto, network: SharedNetwork, batch: int) -> None:
    images = torch.randn(batch, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = network(images)[0].numpy()
    np.testing.assert_allclose(answers(model, images), expected, rtol=1e-4, atol=1e-5)


def test_it_is_of_the_graphs_opset_and_says_which_pieces_are_torchs(several: Any) -> None:
    model, _ = several
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSET)]
    pieces = pieces_of(model)
    assert {"source/tried.soft (Softplus)", "source/tried.padded (Conv2d)"} < set(pieces)
    assert {each.partition(" ")[2] for each in pieces} >= {"(glu)", "(normalize)", "(Softplus)"}
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    own = [node for node in model.graph.node if not node.doc_string]
    assert {"Conv", "Concat"} <= {node.op_type for node in own}


def test_the_same_piece_is_asked_for_once(several: Any, asked: list[Any]) -> None:
    pieces = pieces_of(several[0])
    of_softplus = [each for each in pieces if each.endswith("(Softplus)")]
    assert len(of_softplus) == 2
    assert len(asked) == len(pieces) - 1


def test_it_can_be_half_precision(several: Any) -> None:
    model, _ = several
    images = torch.rand(2, 3, SIZE, SIZE)
    half = answers(to_fp16(model), images)
    np.testing.assert_allclose(half, answers(model, images), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "tried",
    [
        lambda x: x.cumsum(0).flatten(1),
        lambda x: x.flip(0).flatten(1),
        lambda x: torch.logsumexp(x, 0).flatten(1),
        lambda x: functional.normalize(x, dim=0).flatten(1),
    ],
)
def test_what_computes_with_the_whole_batch_is_refused(tried: Any) -> None:
    with pytest.raises(ExportError, match="computes with the batch as a whole"):
        written(tried)


def test_without_onnxscript_the_command_that_brings_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    with pytest.raises(ExportError, match=r"source/tried is a Softplus.* pip install .*export"):
        written(nn.Softplus())


@pytest.mark.slow
def test_torchs_own_words_about_it_are_not_told(
    several: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    del several  # its first import is over
    with caplog.at_level(logging.INFO):
        written(nn.CELU())
    assert capfd.readouterr() == ("", "")
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
