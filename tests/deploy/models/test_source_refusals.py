"""What timm's and own sources refuse, and which layers their functions with weights become."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from snow_deploy.errors import SourceError
from snow_deploy.models.module_facts import ModuleFacts, facts_of_config, for_stem
from snow_deploy.models.module_sources import load_module_source, usual_image_size
from snow_deploy.models.plain.make_plain import make_plain
from snow_export.own_layers import FixedFilter2d

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 32
NETS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Linear(8, 2)
        self.pretrained_cfg = {"input_size": (3, 40, 56)}

    def forward(self, x):
        return self.head(self.stem(x).relu().mean((2, 3)))
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "nets_that_refuse.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "nets_that_refuse", raising=False)
    return "nets_that_refuse:Net"


def weights_of(folder: Path, metadata: dict[str, str] | None = None) -> Path:
    path = folder / "weights.safetensors"
    shapes = {"stem.weight": (8, 3, 3, 3), "stem.bias": (8,), "head.weight": (2, 8)}
    shapes["head.bias"] = (2,)
    tensors = {name: torch.rand(shape) for name, shape in shapes.items()}
    save_file(tensors, path, metadata=metadata)
    return path


def load(source: str, weights: Path | str | None, key: str | None = None) -> Any:
    return load_module_source(source, None if weights is None else str(weights), key, SIZE, print)


def test_what_is_said_of_weights_has_to_be_of_a_file(source: str) -> None:
    with pytest.raises(SourceError, match=r"--weights-key is for a file of weights"):
        load(source, None, "model_ema")
    with pytest.raises(SourceError, match=r"--weights-key is for a file of weights"):
        load("timm:resnet18", "imagenet", "model_ema")
    with pytest.raises(SourceError, match=r"has no weights called 'imagenet'. Give the path"):
        load(source, "imagenet")


def test_a_file_without_tensors_says_how_to_make_one(source: str, tmp_path: Path) -> None:
    save_file({}, tmp_path / "none.safetensors")
    with pytest.raises(SourceError, match=r"holds no state dict.*torch\.save"):
        load(source, tmp_path / "none.safetensors")


@pytest.mark.parametrize("labels", ["cat, dog", '{"0": "cat"}', "[1, 2]"])
def test_labels_that_are_no_list_of_texts(source: str, tmp_path: Path, labels: str) -> None:
    path = weights_of(tmp_path, {"labels": labels})
    with pytest.raises(SourceError, match=r"are no JSON list of texts, one a class"):
        load(source, path)


def test_labels_of_a_file_are_the_sources(source: str, tmp_path: Path) -> None:
    path = weights_of(tmp_path, {"labels": json.dumps(["cat", "dog"])})
    found = load(source, path, None)
    assert (found.labels, found.image_size) == (("cat", "dog"), (40, 56))
    assert usual_image_size(source) == (40, 56)
    assert usual_image_size("resnet18") == 224


@pytest.mark.parametrize(
    "config",
    [
        {"input_size": (3, "wide", 224)},
        {"input_size": (3, 224)},
        {"input_size": (3, 0, 224)},
        {"mean": (0.5, 0.5)},
        {"std": (0.5, 0.5, 0.0)},
        {"crop_pct": 1.2},
        {"crop_pct": "all"},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"the configuration of mine cannot be read: "):
        facts_of_config("mine", config, print)


def test_what_a_configuration_asks_for_in_vain_is_told() -> None:
    said: list[str] = []
    config = {"interpolation": "random", "crop_mode": "squash", "mean": (0.5,)}
    facts = facts_of_config("mine", config, said.append)
    assert (facts.interpolation, facts.mean) == ("bicubic", (0.5, 0.5, 0.5))
    assert "'random', which is not known here: bicubic" in said[0]
    assert "in the mode 'squash'" in said[1]


def test_a_grey_stem_has_one_mean() -> None:
    facts = for_stem(nn.Conv2d(1, 2, 3), ModuleFacts("grey", mean=(0.3, 0.4, 0.5)))
    assert facts.mean == pytest.approx((0.4, 0.4, 0.4))
    assert len(set(facts.std)) == 1
    assert for_stem(nn.Conv2d(1, 2, 3), facts) == facts


def test_timm_without_weights_names_networks_that_have_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timm = pytest.importorskip("timm")
    from snow_deploy.models import timm_source

    monkeypatch.setattr(timm_source, "_config", lambda _: {"url": "", "hf_hub_id": None})
    with pytest.raises(SourceError, match=r"timm has no weights for resnet18d\. .*such as resnet"):
        timm_source.timm_network("timm:resnet18d", pretrained=True, say=print)
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: 1 / 0)
    with pytest.raises(SourceError, match=r"could not make resnet18: division.*Take another of"):
        timm_source.timm_network("timm:resnet18", pretrained=False, say=print)


def _weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.rand(shape) - 0.4)


class Functions(nn.Module):
    """Computes with weights by functions alone, in all the ways that become layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.deep = _weight(8, 3, 3, 3), _weight(8, 1, 3, 3)
        self.same, self.head = _weight(8, 8, 3, 1), _weight(4, 8)
        self.scale, self.shift, self.wide = _weight(8), _weight(8), _weight(8, 16, 16)
        row = torch.tensor([1.0, 2, 1]) / 4
        self.blur = nn.Buffer(row.outer(row).expand(8, 1, 3, 3).clone())
        self.middle, self.spread = nn.Buffer(torch.rand(8)), nn.Buffer(torch.rand(8) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.stem, None, (2,), [1, 1])
        x = functional.batch_norm(x, self.middle, self.spread, self.scale, self.shift)
        x = torch.batch_norm(
            *(x, self.scale, None, self.middle, self.spread, False, 0.1, 1e-5, False)
        )
        x = functional.conv2d(x, self.deep, self.shift, padding=1, groups=8).relu()
        x = functional.conv2d(x, self.blur, padding=1, groups=8)
        x = functional.conv2d(x, self.same, padding="same")
        x = functional.group_norm(x, 2, self.scale, self.shift)
        x = functional.group_norm(x, 2)
        x = functional.layer_norm(x, (8, 16, 16), self.wide)
        return functional.linear(x.mean((2, 3)), self.head)


def test_functions_with_weights_become_layers_that_answer_the_same() -> None:
    network = Functions().eval()
    plain = make_plain(network, (SIZE, SIZE), "functions")  # compares both
    kinds = [type(layer) for layer in plain.modules()]
    assert kinds.count(nn.BatchNorm2d) == 2
    assert kinds.count(FixedFilter2d) == 1
    assert kinds.count(nn.GroupNorm) == 1  # the one with a scale
    assert {nn.Linear, nn.LayerNorm, nn.Conv2d} < set(kinds)
    images = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(plain(images), network(images), rtol=1e-3, atol=1e-4)


class Training(nn.Module):
    """Norms of the batch at hand, which have no fixed form."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.batch_norm(self.stem(x), None, None, training=True)
        answers: Tensor = self.head(x.mean((2, 3)))
        return answers


def test_a_norm_of_the_batch_at_hand_is_refused() -> None:
    with pytest.raises(SourceError, match="by what other pictures are in its batch: up to 0"):
        make_plain(Training(), (SIZE, SIZE), "training")


class Folding(nn.Module):
    """Folds pixels into channels before its first convolution, as TResNet does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fold = nn.PixelUnshuffle(4)
        self.stem = nn.Conv2d(16 * channels, 8, 3, padding=1)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.head(self.stem(self.fold(x)).relu().mean((2, 3)))
        return answers


def test_pictures_that_are_folded_first_have_three_channels() -> None:
    network = Folding(3)
    plain = make_plain(network, (SIZE, SIZE), "folding")
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(plain(images), network(images))
    with pytest.raises(SourceError, match=r"reads pictures of 64 channels, expected 3"):
        make_plain(Folding(4), (SIZE, SIZE), "four")
