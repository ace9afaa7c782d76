"""Checkpoints of one's own networks, whose parts may be called as wrappers call theirs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from snow_deploy.errors import SourceError
from snow_deploy.models.module_facts import ModuleFacts
from snow_deploy.models.module_weights import take_weights
from snow_deploy.models.state_dicts import flatten_state_dict
from snow_deploy.models.weights_file import read_weights_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FACTS = ModuleFacts("own", image_size=32, origin="w.pth")
State = dict[str, Tensor]


class Net(nn.Module):
    def __init__(self, middle: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.middle = middle or nn.Conv2d(8, 8, 3, 1, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        logits: Tensor = self.head(self.middle(x).relu().mean((2, 3)))
        return logits


class Around(nn.Module):
    """Has its network as a part of whatever name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.add_module(name, Net())
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.get_submodule(self.name)(x)
        return logits


class Inside(Net):
    """Has a part called as wrappers call theirs among others."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Identity()))
        self.module = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.module(self.norm(self.stem(x)).relu()).mean((2, 3)))
        return logits


class Twice(Inside):
    """Has two parts whose names a wrapper alone would tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Sequential()
        self.module.stem = nn.Conv2d(8, 8, 3, 1, 1)


class Selecting(Net):
    """Decides by integers, single ones among them, which a training might change."""

    def __init__(self) -> None:
        super().__init__()
        self.order = nn.Buffer(torch.arange(8))
        self.gain = nn.Buffer(torch.tensor(1))
        self.first = nn.Buffer(torch.tensor([0]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu().mean((2, 3))
        logits: Tensor = self.head(x[:, self.order] * self.gain + self.first)
        return logits


class Noted(Net):
    """Keeps notes of its own beside its tensors."""

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 2}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.version = state["version"]


def replicas() -> nn.Module:
    return nn.DataParallel(Net())


def averaged() -> nn.Module:
    return AveragedModel(Net())


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: partial(Around, name) for name in ("module", "_module", "model")},
    **dict(inside=Inside, twice=Twice, selecting=Selecting, noted=Noted),  # noqa: C408
    **dict(replicas=replicas, averaged=averaged),  # noqa: C408
}
FORMS: dict[str, Callable[[State], Any]] = {
    "raw": lambda state: state,
    "replicas": lambda state: {"state_dict": prefixed(state, "module.")},
    "lightning": lambda state: {"state_dict": prefixed(state, "model."), "epoch": 3},
    "stacked": lambda state: {"a": [{"b": prefixed(state, "_orig_mod.module.backbone.")}]},
    "doubles": lambda state: {
        key: v.double() if v.is_floating_point() else v for key, v in state.items()
    },
    "counted": lambda state: {"model": state, "step": torch.tensor(3), "best": torch.tensor([7])},
}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def drawn(network: nn.Module) -> nn.Module:
    """Give a network other weights than its factory's."""
    draw = torch.Generator().manual_seed(5)
    for value in (*network.parameters(), *network.buffers()):
        if value.is_floating_point():
            value.data = torch.rand(value.shape, generator=draw) + 0.1
    return network.eval()


def answers(network: nn.Module) -> Tensor:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits: Tensor = network.eval()(images)
    return logits


def take(network: nn.Module, content: Any, path: Path) -> list[str]:
    """Save a checkpoint and give it to a network; return what was told."""
    torch.save(content, path / "w.pth")
    told: list[str] = []
    tensors = flatten_state_dict(read_weights_file(path / "w.pth").content)
    take_weights(network, tensors, FACTS, None, told.append)
    return told


QUICK = {*((name, "stacked") for name in NETWORKS), *(("module", form) for form in FORMS)}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow)
        for pair in product(NETWORKS, FORMS)
    ],
)
def test_every_network_reads_its_own_weights(tmp_path: Path, name: str, form: str) -> None:
    trained = drawn(NETWORKS[name]())
    if isinstance(trained, Selecting):
        trained.order.copy_(torch.arange(8).flip(0))
        trained.gain.fill_(3)
        trained.first.fill_(-2)
    state = {key: v for key, v in trained.state_dict().items() if isinstance(v, Tensor)}
    network = NETWORKS[name]()

    take(network, FORMS[form](state), tmp_path)

    torch.testing.assert_close(answers(network), answers(trained))


@pytest.mark.parametrize("name", ["replicas", "averaged", "module"])
def test_a_network_in_a_wrapper_reads_what_was_saved_without(tmp_path: Path, name: str) -> None:
    trained = drawn(Net())
    network = NETWORKS[name]()

    take(network, {"model": trained.state_dict()}, tmp_path)

    torch.testing.assert_close(answers(network), answers(trained))


def test_single_integers_that_a_file_lacks_stay_and_are_told(tmp_path: Path) -> None:
    network: Any = Selecting()
    trained: Any = drawn(Selecting())
    network.gain.fill_(2)
    trained.gain.fill_(2)
    state = {k: v for k, v in trained.state_dict().items() if k not in {"gain", "first"}}

    told = take(network, {"state_dict": prefixed(state, "module.")}, tmp_path)

    torch.testing.assert_close(answers(network), answers(trained))
    assert any("2 settings (gain, first) are not in it" in line for line in told)
    with pytest.raises(SourceError, match=r"1 missing \(order\)"):
        take(network, {k: v for k, v in state.items() if k != "order"}, tmp_path)


def test_attributes_of_tensors_are_not_read(tmp_path: Path) -> None:
    """A file may set them to anything, and so call what is no function."""
    network: Any = Net()
    trained: Any = drawn(Net())
    weight = nn.Parameter(trained.stem.weight.detach().clone())
    weight.__dict__.update(numel=3, is_floating_point=3, to=3, shape_of_it=3)

    take(network, {**trained.state_dict(), "stem.weight": weight}, tmp_path)

    torch.testing.assert_close(answers(network), answers(trained))


def test_masks_that_claim_more_than_there_is_are_not_multiplied() -> None:
    """A value that stands for a million takes four bytes; the product would take four megabytes."""
    one = torch.ones(1).expand(1 << 20)
    content = {f"{n}.weight_{kind}": one for n in range(50) for kind in ("orig", "mask")}
    real = {"a.weight_orig": torch.ones(4, 3), "a.weight_mask": torch.eye(4, 3)}

    found = flatten_state_dict({**content, **real})

    held = {value.untyped_storage().data_ptr(): value.untyped_storage() for value in found.values()}
    assert sum(each.nbytes() for each in held.values()) < 1 << 16
    assert torch.equal(found["a.weight"], torch.eye(4, 3))


def test_a_name_of_very_many_parts_is_no_weights(tmp_path: Path) -> None:
    trained, network = drawn(Net()), Net()

    with pytest.raises(SourceError, match=r"0 missing, 1 unexpected \((a\.)+"):
        take(
            network,
            {**trained.state_dict(), "a." * 50_000 + "stem.weight": torch.ones(2)},
            tmp_path,
        )


def test_what_is_missing_is_named_as_the_network_names_it(tmp_path: Path) -> None:
    state = drawn(replicas()).state_dict()
    lacking = {key: value for key, value in state.items() if key != "module.norm.bias"}

    with pytest.raises(SourceError, match=r"fit own: 1 missing \(module\.norm\.bias\)"):
        take(replicas(), lacking, tmp_path)
    bare = {key.removeprefix("module.stem."): v for key, v in state.items() if "stem" in key}
    with pytest.raises(SourceError, match=r"With 'stem\.' before their names 2 of the 2"):
        take(replicas(), bare, tmp_path)


def test_a_network_of_no_convolution_is_refused(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))

    take(network, network.state_dict(), tmp_path)
    other = {"1.weight": torch.ones(4, 7), "1.bias": torch.ones(4)}
    with pytest.raises(SourceError, match=r"w\.pth\) do not fit plain"):
        take_weights(network, other, replace(FACTS, name="plain"), None, print)
