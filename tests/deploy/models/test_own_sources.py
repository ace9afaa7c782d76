"""Sources of one's own: a module's factory, and checkpoints as people have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.delta import Delta
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.own_source import code_sha256, is_stale
from snow_deploy.models.source import Source
from snow_deploy.models.weights import ReadOptions, load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIZE = 64
NETS = '''
import torch
from torch import nn

class Scaled(nn.Conv2d):
    """Standardises its weights in a way of its own."""

    def forward(self, x):
        weight = self.weight / self.weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)

class Block(nn.Module):
    def __init__(self, reads, gives, stride):
        super().__init__()
        self.conv1 = Scaled(reads, gives, 3, stride, 1)
        self.norm = nn.BatchNorm2d(gives)
        self.conv2 = nn.Conv2d(gives, gives, (3, 1), padding="same")
        self.short = nn.Conv2d(reads, gives, 1, stride)
        self.scale = nn.Parameter(torch.full((gives, 1, 1), 0.5))

    def forward(self, x):
        if x.shape[-1] % 2:
            x = nn.functional.pad(x, (0, 1, 0, 1))
        y = self.norm(self.conv1(x)).relu_()
        y = self.conv2(y).mul_(self.scale[None])
        return torch.relu(y + self.short(x))

class Net(nn.Module):
    def __init__(self, channels=3, classes=4):
        super().__init__()
        self.register_buffer("middle", torch.tensor(0.1))
        stem = nn.Conv2d(channels, 8, 3, 2, 1)
        self.backbone = nn.Sequential(stem, Block(8, 16, 2), Block(16, 16, 1))
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        b, c, h, w = x.shape
        assert c in (1, 3)
        y = self.backbone(x - self.middle if c == 3 else x)
        return self.head(y.mean((2, 3), keepdim=True).view(b, -1))

class ByValue(Net):
    def forward(self, x):
        y = self.backbone(x)
        if y.sum() > 0:  # depends on the picture
            y = 2 * y
        return self.head(y.mean((2, 3)))

class Moody(Net):
    def forward(self, x):
        return super().forward(x) * torch.rand(1)

class Mistyped(Net):
    def forward(self, x):
        return self.haed(self.backbone(x).mean((2, 3)))

class Wide(Net):
    def forward(self, x):
        return self.backbone(x)

def rgb():
    torch.manual_seed(0)
    return Net()

def grey():
    torch.manual_seed(0)
    net = Net(1)
    net.pretrained_cfg = {"input_size": (1, 96, 96), "mean": [0.4], "std": [0.3], "crop_pct": 0.9,
                          "interpolation": "bicubic"}
    return net

def four():
    return Net(4)

def raising():
    return open("/no/such/file")

def number():
    return 3

def the_class():
    return Net

def nothing():
    Net()

def scripted():
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.Identity(), torch.jit.trace(nn.ReLU(), torch.zeros(1)))

def with_attention():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.MultiheadAttention(4, 1))

answer = 42
'''


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write the module into a working folder and return what it holds, imported."""
    import importlib
    import sys

    name = f"nets_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module(name)
    del sys.modules[name]


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = network.eval()(images)
    return found


def source_name(nets: Any, factory: str = "rgb") -> str:
    return f"{nets.__name__}:{factory}"


def test_a_factory_gives_a_source_that_a_delta_trains_on(nets: Any) -> None:
    said: list[str] = []
    weights = load_weights(None, source_name(nets), say=said.append)
    source = Source(weights)
    images = torch.randn(2, 3, SIZE, SIZE)

    torch.testing.assert_close(source(images)["logits"], logits_of(nets.rgb(), images))
    odd = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(source(odd)["logits"], logits_of(nets.rgb(), odd))
    assert "pretrained_cfg" in said[0]
    assert [tap.name for tap in source.anatomy.taps] == ["backbone.1", "head"]
    assert weights.code_sha256 == code_sha256(source_name(nets))
    layers = [each for each in weights.build().modules() if isinstance(each, nn.Conv2d)]
    assert not any(isinstance(layer.padding, str) for layer in layers)  # ONNX wants numbers
    delta = Delta(source, 3, DeltaOptions(k_divisor=2, width_divisor=2))
    scale = next(value for key, value in delta.named_parameters() if "scale" in key)
    torch.testing.assert_close(scale, torch.full_like(scale, 0.5))  # as the network's own began
    delta(images, source(images)).sum().backward()
    assert all(parameter.grad is not None for parameter in delta.parameters())


def wrapped(state: Mapping[str, Tensor], form: str) -> Any:
    plain = dict(state)
    forms: dict[str, Callable[[], Any]] = {
        "raw": lambda: plain,
        "state_dict": lambda: {"state_dict": plain, "epoch": 3},
        "model": lambda: {"model": {f"module.{k}": v for k, v in plain.items()}},
        "averaged": lambda: {"model_ema": plain},
        "compiled": lambda: {f"_orig_mod.{k}": v for k, v in plain.items()},
        "lightning": lambda: {"state_dict": {f"model.{k}": v for k, v in plain.items()}},
        "half": lambda: {k: v.half() if v.is_floating_point() else v for k, v in plain.items()},
    }
    return forms[form]()


FORMS = ("raw", "state_dict", "model", "averaged", "compiled", "lightning", "half")


def other(nets: Any, classes: int = 6) -> nn.Module:
    torch.manual_seed(5)
    network: nn.Module = nets.Net(classes=classes)
    return network


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_is_read_whatever_it_is_wrapped_in(
    nets: Any, tmp_path: Path, form: str
) -> None:
    network = other(nets)
    torch.save(wrapped(network.state_dict(), form), tmp_path / "w.pth")

    weights = load_weights(str(tmp_path / "w.pth"), source_name(nets))

    images = torch.randn(2, 3, SIZE, SIZE)
    far = 2e-2 if form == "half" else 1e-4
    found = logits_of(weights.build(), images)
    assert found.shape == (2, 6)  # classes that the factory does not know
    torch.testing.assert_close(found, logits_of(network, images), rtol=far, atol=far)


def test_shards_are_read_by_their_index(nets: Any, tmp_path: Path) -> None:
    network = other(nets)
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    where = {key: f"part-{number % 2}.safetensors" for number, key in enumerate(state)}
    for name in set(where.values()):
        save_file({key: state[key] for key in state if where[key] == name}, tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    images = torch.randn(1, 3, SIZE, SIZE)

    weights = load_weights(str(index), source_name(nets))

    torch.testing.assert_close(logits_of(weights.build(), images), logits_of(network, images))
    (tmp_path / "part-1.safetensors").unlink()
    with pytest.raises(SourceError, match=r"2 files, and 1 of them is not beside it \(part-1"):
        load_weights(str(index), source_name(nets))
    index.write_text(json.dumps({"weight_map": {"a": "../w.safetensors"}}))
    with pytest.raises(SourceError, match="expected the name of a file of tensors beside it"):
        load_weights(str(index), source_name(nets))


def test_what_does_not_fit_says_which_keys_and_which_prefix_would(
    nets: Any, tmp_path: Path
) -> None:
    state = other(nets).state_dict()
    bare = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    torch.save(bare, tmp_path / "bare.pth")
    with pytest.raises(SourceError, match=r"With 'backbone.' before their names \d+ of the \d+"):
        load_weights(str(tmp_path / "bare.pth"), source_name(nets))
    lacking = {key: value for key, value in state.items() if "short" not in key}
    torch.save(lacking, tmp_path / "lacking.pth")
    with pytest.raises(SourceError, match=r"4 missing \(backbone\.1\.short\.weight"):
        load_weights(str(tmp_path / "lacking.pth"), source_name(nets))


def test_weights_of_another_network_are_named(nets: Any, tmp_path: Path) -> None:
    import torchvision

    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "other.pth")
    with pytest.raises(SourceError, match="They are those of squeezenet1_1"):
        load_weights(str(tmp_path / "other.pth"), source_name(nets))


def test_a_grey_network_reads_the_grey_that_pillow_makes(nets: Any) -> None:
    weights = load_weights(None, source_name(nets, "grey"), ReadOptions(image_size=SIZE))
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()

    found = logits_of(weights.build(), (planes / 255 - 0.4) / 0.3)

    expected = logits_of(nets.grey(), (torch.from_numpy(grey)[None, None] / 255 - 0.4) / 0.3)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=5e-3)  # grey levels are rounded
    prepared = weights.preprocessing(90)
    assert (prepared.resize_size, prepared.interpolation) == (100, "bicubic")
    assert (prepared.mean, weights.image_size) == ((0.4,) * 3, 96)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("raising", r"raised FileNotFoundError: .*no/such/file.* at .*nets_\d+\.py:\d+"),
        ("number", "returned a int, expected an nn.Module"),
        ("answer", "is a int, expected a function"),
        ("absent", "has nothing called 'absent'.*rgb, grey"),
        ("rbg", r"nothing called 'rbg'.*Did you mean nets_\d+:rgb\?"),
        ("rgb()", r"nothing called 'rgb\(\)'.*Did you mean nets_\d+:rgb\?"),
        ("the_class", r"returned the class Net, expected an nn\.Module\. Return Net\(\.\.\.\)"),
        ("nothing", "returned a NoneType, expected an nn.Module. End it with `return network`"),
        ("scripted", "is TorchScript at 1, which says nothing of its layers"),
        ("Mistyped", r"AttributeError: .*'haed' at .*nets_\d+\.py:\d+ \(return self\.haed"),
        ("ByValue", r"cannot be traced at .*nets_\d+\.py:\d+ \(if y\.sum\(\) > 0.*value of a"),
        ("Moody", "answers otherwise than the network itself"),
        ("Wide", r"returns \[2, 16, 56, 56\].*expected logits"),
        ("four", "reads pictures of 4 channels, expected 3"),
        ("with_attention", "attention blocks .*MultiheadAttention"),
    ],
)
def test_what_cannot_be_a_source_says_why(nets: Any, factory: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        load_weights(None, source_name(nets, factory))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("no_such_module:f", "no Python module 'no_such_module'"),
        ("json.no_such:f", "no Python module 'json.no_such'"),
        ("../nets.py:f", "names no module"),
        ("nets.py:f", r"no Python module 'nets.*Write nets:f, a module's name"),
        ("resnet81", r"torchvision has no network called 'resnet81'. Did you mean resnet18"),
    ],
)
def test_a_module_that_is_not_there_is_named(source: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        load_weights(None, source)


def test_a_module_that_raises_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_nets.py").write_text("import json\nraise KeyError('oh')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=r"importing broken_nets raised KeyError.*py:2"):
        load_weights(None, "broken_nets:f")
    (tmp_path / "misspelt_nets.py").write_text("import json\n\ndef f(:\n    pass\n")
    with pytest.raises(SourceError, match=r"SyntaxError: .* at .*misspelt_nets\.py:3 \(def f\(:\)"):
        load_weights(None, "misspelt_nets:f")


def test_a_changed_file_is_noticed(nets: Any) -> None:
    source, path = source_name(nets), Path(nets.__file__)
    before = code_sha256(source)
    assert not is_stale(source, before)
    path.write_text(f"{NETS}\n# another word\n", encoding="utf-8")
    assert is_stale(source, before)
    assert not is_stale(source, "")
    assert not is_stale("gone_module:f", before)
