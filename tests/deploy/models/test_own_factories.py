"""Factories as people write them: what they return, what they leave behind, what is misspelt."""

from __future__ import annotations

import importlib
import itertools
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from snow_deploy.errors import SourceError
from snow_deploy.models.plain.make_plain import make_plain
from snow_deploy.models.weights import ReadOptions, load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 64
NETS = """
import argparse
import functools
import os
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Linear(8, classes)
        self.pretrained_cfg = {"input_size": (3, 64, 64)}

    def forward(self, x):
        return self.head(self.stem(x).relu().mean((2, 3)))

class Silent(Exception):
    def __str__(self):
        raise RuntimeError("cannot say")

def refuse(graph, inputs):
    raise AssertionError("this compiles")

def plain():
    torch.manual_seed(0)
    return Net()

def trained():
    return plain().train()

def averaged():
    return torch.optim.swa_utils.AveragedModel(plain())

def replicas():
    return nn.DataParallel(plain())

def double():
    return plain().double()

def in_halves():
    return plain().bfloat16()

def compiled():
    return torch.compile(plain(), backend=refuse)

def compiled_parts():
    net = plain()
    net.stem = torch.compile(net.stem, backend=refuse)
    net.head.compile(backend=refuse)
    return net

def lazy():
    torch.manual_seed(0)
    return nn.Sequential(nn.LazyConv2d(8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.LazyLinear(4))

def lazy_for_grey():
    return nn.Sequential(nn.LazyConv2d(8, 3), nn.Linear(1, 1), nn.LazyLinear(4))

def meddling():
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1 + torch.get_num_threads())
    os.chdir("/")
    return Net()

def elsewhere():
    torch.set_default_device("meta")
    return Net()

def quantised():
    return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear})

def with_arguments(classes):
    return Net(classes)

def both():
    return plain(), {"top1": 0.5}

def state():
    return plain().state_dict()

async def later():
    return plain()

def a_function():
    return functools.partial(plain)

def exported():
    return torch.export.export(plain().eval(), (torch.zeros(1, 3, 64, 64),))

def silent():
    raise Silent

def leaving():
    argparse.ArgumentParser().parse_args(["--data"])
"""
count = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Write a module into the working folder, under a name of its own, and return that."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def write(content: str, begin: str = "factories") -> str:
        name = f"{begin}_{next(count)}"
        (tmp_path / f"{name}.py").write_text(content, encoding="utf-8")
        importlib.invalidate_caches()
        return name

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def nets(write: Callable[..., str]) -> str:
    return write(NETS)


def load(source: str) -> Any:
    return load_weights(None, source, ReadOptions(image_size=SIZE))


def answers(network: nn.Module) -> torch.Tensor:
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits: torch.Tensor = network.eval()(images)
    return logits


@pytest.mark.parametrize(
    "factory",
    [
        *("trained", "averaged", "replicas", "double", "in_halves", "compiled", "compiled_parts"),
        "lazy",
    ],
)
def test_what_is_around_a_network_makes_no_difference(nets: str, factory: str) -> None:
    """Nothing is compiled: what would compile it refuses."""
    found = answers(load(f"{nets}:{factory}").build())

    far = 2e-2 if factory == "in_halves" else 1e-4
    if factory == "lazy":
        assert found.shape == (2, 4)
    else:
        expected = answers(importlib.import_module(nets).plain())
        torch.testing.assert_close(found, expected, rtol=far, atol=far)


def refuse(*_: Any) -> Any:
    msg = "this compiles"
    raise AssertionError(msg)


def test_a_network_that_is_given_stays_compiled() -> None:
    inner = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    inner[0].compile(backend=refuse)
    network: Any = torch.compile(inner, backend=refuse)

    plain = make_plain(network, (SIZE, SIZE), "compiled")

    assert "_orig_mod" not in "".join(plain.state_dict())
    assert network._orig_mod is inner
    assert inner[0]._compiled_call_impl is not None


@pytest.mark.parametrize("factory", ["meddling", "elsewhere"])
def test_what_a_factory_changes_for_all_is_undone(nets: str, factory: str, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    if factory == "meddling":
        assert load(f"{nets}:meddling").build()(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, 4)
    else:
        with pytest.raises(SourceError, match=r"4 tensors on torch's meta device.*stem\.weight"):
            load(f"{nets}:elsewhere")

    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_default_device() == torch.device("cpu")
    assert torch.get_num_threads() == threads
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("quantised", r"is quantised at head \(Linear\), expected layers of floating point"),
        ("with_arguments", r"raised TypeError: .*'classes'\. A factory takes no arguments"),
        ("both", r"returned a tuple \(Net, dict\), expected.*Return the network in it alone"),
        ("state", r"returned a OrderedDict \(Tensor, Tensor, Tensor, …\), expected an nn\.Module"),
        ("later", r"returned a coroutine, expected.*def, not async def"),
        ("a_function", r"returned a partial, expected.*what that returns when it is called"),
        ("exported", r"returned a ExportedProgram, expected.*Return its module\(\)"),
        ("silent", r"raised Silent at .*factories_\d+\.py:\d+ \(raise Silent\)\. A factory"),
        ("lazy_for_grey", r"on a first picture raised RuntimeError: .*Run it on a picture"),
        ("leaving", r"raised SystemExit: 2 at .*factories_\d+\.py:\d+ \(argparse.*parse_args"),
        (
            "averagd",
            r"nothing called 'averagd'.*Net, Silent, refuse, plain, .*, …\. Did.*:averaged\?",
        ),
    ],
)
def test_what_is_no_network_says_what_it_is(
    nets: str, factory: str, message: str, recwarn: pytest.WarningsRecorder
) -> None:
    warnings.simplefilter("ignore", DeprecationWarning)  # torch's, of its own quantisation
    warnings.simplefilter("ignore", UserWarning)

    with pytest.raises(SourceError, match=message) as told:
        load(f"{nets}:{factory}")
    assert "\n" not in str(told.value)
    assert not [each for each in recwarn if "never awaited" in str(each.message)]


def test_a_misspelt_module_is_told_which_was_meant(
    write: Callable[..., str], tmp_path: Path
) -> None:
    name = write(NETS, "garden")
    (tmp_path / "greenhouse").mkdir()
    (tmp_path / "greenhouse" / "__init__.py").write_text(f"from {name} import plain, Net\n")
    (tmp_path / "greenhouse" / "orchids.py").write_text(f"from {name} import plain\n")

    for source, message in {
        f"gardne{name[6:]}:plain": rf"no Python module 'gardne_\d+'.*Did you mean {name}\?",
        "greenhuose:plain": r"no Python module 'greenhuose'.*Did you mean greenhouse\?",
        "greenhouse.orchid:plain": r"'greenhouse\.orchid'.*Did you mean greenhouse\.orchids\?",
        "greenhouse:plian": r"classes from elsewhere: plain, Net\. Did you mean greenhouse:plain\?",
        f"{write(NETS, 'resnet18')}.plain": r"no network called .*Did.* resnet18_\d+:plain\?",
        f"{name}.plain": rf"no network called .*Did you mean {name}:plain\?",
        f"{name}.py": rf"no network called .*Did you mean {name}:FUNCTION\?",
    }.items():
        with pytest.raises(SourceError, match=message):
            load(source)


@pytest.mark.usefixtures("nets")
def test_a_file_named_as_a_module_of_python_is_told_of(tmp_path: Path) -> None:
    """Python finds its own module first where a command is run."""
    (tmp_path / "colorsys.py").write_text(NETS)

    with pytest.raises(SourceError, match=r"It is .*colorsys\.py, not colorsys\.py here: give"):
        load("colorsys:plain")
    (tmp_path / "sys.py").write_text(NETS)
    with pytest.raises(SourceError, match=r"a module of Python itself, not sys\.py here: give"):
        load("sys:plain")
