"""Weights that lie in several files, or are pieces of a training on several devices."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.choose_weights import choose_weights
from snow_deploy.models.module_facts import ModuleFacts
from snow_deploy.models.module_weights import keys_of_module, weights_of_module
from snow_deploy.models.weights_file import read_weights_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_deploy.models.architectures import NetworkKeys

FACTS = ModuleFacts("own", image_size=32)
TENSORS = {"a": torch.ones(2), "b": torch.arange(3.0), "c": torch.zeros(1, 2)}
PLACES = {"a": "one.safetensors", "b": "two.pth", "c": "one.safetensors"}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    """Write two files of tensors, one of either kind, and an index; return its path."""
    save_file({key: TENSORS[key] for key in ("a", "c")}, tmp_path / "one.safetensors")
    torch.save({"b": TENSORS["b"]}, tmp_path / "two.pth")
    path = tmp_path / "model.index.json"

    def write(index: Any) -> Path:
        text = index if isinstance(index, str) else json.dumps({"weight_map": index})
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("begin", ["", "\n ", "\ufeff"])
def test_files_of_both_kinds_and_whatever_else_an_index_says(
    write: Callable[[Any], Path], begin: str
) -> None:
    index = {"metadata": {"total_size": 10**15, "who": None}, "weight_map": PLACES}

    found = read_weights_file(write(begin + json.dumps(index))).content

    assert list(found) == list(TENSORS)
    assert all(torch.equal(found[key], value) for key, value in TENSORS.items())


def test_a_link_may_lead_elsewhere(write: Callable[[Any], Path], tmp_path: Path) -> None:
    """As the hub's cache has it: names beside the index, contents in another folder."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    path = write(PLACES)
    (tmp_path / "two.pth").rename(blobs / "1f2e3d")
    (tmp_path / "two.pth").symlink_to("blobs/1f2e3d")

    assert torch.equal(read_weights_file(path).content["b"], TENSORS["b"])
    (blobs / "1f2e3d").unlink()
    with pytest.raises(SourceError, match=r"2 files, and 1 of them is not beside it \(two\.pth\)"):
        read_weights_file(path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({**PLACES, "d": "../one.safetensors"}, r"d is in '\.\./one\.safetensors', expected the"),
        ({**PLACES, "d": "/one.safetensors"}, r"d is in '/one\.safetensors', expected the name"),
        ({**PLACES, "d": ".."}, r"d is in '\.\.', expected the name of a file"),
        ({**PLACES, "d": ""}, r"d is in '', expected the name of a file"),
        ({**PLACES, "d": 3}, r"d is in 3, expected the name of a file"),
        ({**PLACES, "d": "model.index.json"}, r"d is in 'model\.index\.json', expected the name"),
        ({**PLACES, "d": "three.pth"}, r"3 files, and 1 of them is not beside it \(three\.pth\)"),
        ({**PLACES, "d": "x" * 300}, r"3 files, and 1 of them is not beside it \(x+\)"),
        ({**PLACES, "d": "a\0b"}, r"3 files, and 1 of them is not beside it \(a\\x00b\)"),
        ({**PLACES, "d": "two.pth"}, r"d is in two\.pth, which lacks it\. Download both"),
        ({**PLACES, "d\x1b[31m": "two.pth"}, r"d\\x1b\[31m is in two\.pth, which lacks it"),
        ('{"weight_map": {"a": "one.safetensors", "a": "two.pth"}}', r"names 'a' twice, expected"),
        ({}, "text in JSON, such as settings"),
        ([], "text in JSON, such as settings"),
        ('{"weight_map":' * 20_000, "text in JSON, such as settings"),
        ('{"weight_map": {"a": ', "text in JSON, such as settings"),
    ],
)
def test_an_index_that_cannot_be_followed(
    write: Callable[[Any], Path], index: Any, message: str
) -> None:
    with pytest.raises(SourceError, match=rf"model\.index\.json .*{message}") as told:
        read_weights_file(write(index))
    assert str(told.value).isprintable()


def test_a_file_that_is_cut_short_is_named(write: Callable[[Any], Path], tmp_path: Path) -> None:
    for name in ("one.safetensors", "two.pth"):
        path, whole = write(PLACES), (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-3])
        with pytest.raises(SourceError, match=rf"{name} cannot be read as a file of tensors"):
            read_weights_file(path)
        (tmp_path / name).write_bytes(whole)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(8, 4))


@pytest.fixture(scope="module")
def keys(network: nn.Module) -> NetworkKeys:
    return keys_of_module(network, FACTS)


def choose(tensors: dict[str, Tensor], keys: NetworkKeys) -> Any:
    return choose_weights(tensors, keys, None, "w.pth", lambda _: None)


def test_whole_ones_are_read(network: nn.Module, keys: NetworkKeys) -> None:
    state = network.state_dict()
    for prefix in ("module.", "_fsdp_wrapped_module.", "_forward_module.module."):
        found = choose({prefix + key: value for key, value in state.items()}, keys)
        assert all(torch.equal(found[key], state[key]) for key in keys.shapes)


def test_pieces_say_how_they_are_put_together(network: nn.Module, keys: NetworkKeys) -> None:
    empty = {f"module.{key}": torch.zeros(0) for key in network.state_dict()}
    with pytest.raises(SourceError, match=r"Most of them are empty, .*zero_to_fp32\.py"):
        choose(empty, keys)
    flat = {"_fsdp_wrapped_module._flat_param": torch.zeros(99)}
    with pytest.raises(SourceError, match=r"end to end, as FSDP.*full_state_dict=True"):
        choose(flat, keys)


def test_a_classifier_of_no_classes(network: nn.Module, keys: NetworkKeys) -> None:
    state = {**network.state_dict(), "4.weight": torch.ones(0, 8), "4.bias": torch.ones(0)}
    with pytest.raises(SourceError, match=r"4\.weight is \[0, 8\], a classifier of no classes"):
        choose(state, keys)
    with pytest.warns(UserWarning, match="zero-element"):
        none = nn.Sequential(*list(network.children())[:-1], nn.Linear(8, 0))
    with pytest.raises(SourceError, match=r"own returns \[2, 0\] .*expected logits \[2, classes"):
        weights_of_module(none, FACTS)
