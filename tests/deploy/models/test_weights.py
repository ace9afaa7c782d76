from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from snow_deploy.errors import SourceError
from snow_deploy.models.architectures import normalisation, unfilled_network
from snow_deploy.models.source import Source
from snow_deploy.models.weights import (
    ReadOptions,
    SourceWeights,
    architectures,
    build_architecture,
    from_network,
    hash_tensors,
    load_weights,
)
from snow_runtime.graph.manifest import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RandomNetwork, RandomWeights

ARCHITECTURE = "shufflenet_v2_x0_5"  # the smallest file


@pytest.fixture(scope="module")
def network(random_network: RandomNetwork) -> nn.Module:
    return random_network(ARCHITECTURE)


@pytest.fixture(scope="module")
def safetensors_bytes(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    save_file(network.state_dict(), path, metadata={"architecture": ARCHITECTURE})
    return path.read_bytes()


def answers(network: nn.Module) -> Tensor:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits: Tensor = network(images)
    return logits


def save(network: nn.Module, path: Path, **metadata: str) -> Path:
    save_file(network.state_dict(), path, metadata=metadata)
    return path


def test_a_safetensors_file(network: nn.Module, tmp_path: Path) -> None:
    path = save(network, tmp_path / "w.safetensors")

    weights = load_weights(str(path), ARCHITECTURE)

    assert torch.equal(answers(weights.build()), answers(network))
    assert weights.architecture == ARCHITECTURE
    assert weights.origin == "w.safetensors"
    assert (weights.mean, weights.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert weights.labels is None
    assert not weights.stride_in_1x1


@pytest.mark.parametrize("suffix", ["pth", "pt"])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_torch_file(
    network: nn.Module, tmp_path: Path, suffix: str, wrapped: bool, prefix: str
) -> None:
    state: Any = OrderedDict((prefix + key, value) for key, value in network.state_dict().items())
    path = tmp_path / f"w.{suffix}"
    torch.save({"state_dict": state, "epoch": 3, "best": 0.5} if wrapped else state, path)

    weights = load_weights(str(path), ARCHITECTURE)

    assert torch.equal(answers(weights.build()), answers(network))
    assert weights.fingerprint() == from_network(network, weights).fingerprint()


def test_metadata_of_a_safetensors_file(network: nn.Module, tmp_path: Path) -> None:
    preprocessing = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    path = save(
        network,
        tmp_path / "w.safetensors",
        architecture=ARCHITECTURE,
        labels=json.dumps(list("abcdefg")),
        preprocessing=json.dumps(preprocessing),
    )

    weights = load_weights(str(path), ARCHITECTURE)

    assert weights.labels == tuple("abcdefg")
    assert weights.mean == (0.1, 0.2, 0.3)
    assert weights.std == (0.4, 0.5, 0.6)


def test_half_precision_weights_are_widened(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    halved = {
        key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()
    }
    save_file(halved, path)

    weights = load_weights(str(path), ARCHITECTURE)

    assert {value.dtype for value in weights.state.values()} == {torch.float32}
    for key, value in weights.state.items():
        assert torch.equal(value, halved[key].float())


class Attack:
    """Unpickled, it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self.target).touch, (self.target,))


@pytest.mark.parametrize("inside", ["alone", "state dict", "plain pickle"])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(
    network: nn.Module, tmp_path: Path, inside: str
) -> None:
    proof, path = tmp_path / "executed", tmp_path / "w.pth"
    attack = Attack(proof)
    if inside == "plain pickle":
        path.write_bytes(pickle.dumps(attack))
    else:
        torch.save(attack if inside == "alone" else {**network.state_dict(), "x": attack}, path)

    with pytest.raises(SourceError, match=r"w\.pth (holds other things|cannot be read)") as told:
        load_weights(str(path), ARCHITECTURE)
    assert "weights_only=False" not in str(told.value)  # torch's advice is to run the attack
    assert not proof.exists()
    if inside == "plain pickle":  # the attack would have worked
        pickle.loads(path.read_bytes())  # noqa: S301
    else:
        torch.load(path, weights_only=False)
    assert proof.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {}},
        {"a": 1},
        torch.ones(3),
        {},
    ],
    ids=["empty wrapper", "number", "tensor", "empty"],
)
def test_torch_files_that_hold_no_state_dict(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)

    with pytest.raises(SourceError, match=r"w\.pth cannot be read as a file of tensors: "):
        load_weights(str(path), ARCHITECTURE)


@pytest.mark.parametrize(
    "content",
    [{"model": {"a": torch.ones(2)}, "epoch": 3}, {1: torch.ones(2)}, [torch.ones(2)]],
    ids=["wrapped", "number key", "list"],
)
def test_torch_files_of_other_tensors(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)

    with pytest.raises(SourceError, match=r"w\.pth.* do not fit .*: too few of its 1 tensors \("):
        load_weights(str(path), ARCHITECTURE)


def test_missing_and_unexpected_tensors_are_named(network: nn.Module, tmp_path: Path) -> None:
    state = dict(network.state_dict())
    del state["conv1.0.weight"]
    state["conv0.weight"] = torch.ones(1)
    path = tmp_path / "w.pth"
    torch.save(state, path)

    with pytest.raises(
        SourceError,
        match=r"w\.pth.* do not fit shufflenet.*1 missing \(conv1\.0\.weight\), "
        r"1 unexpected \(conv0\.weight\).*--source",
    ):
        load_weights(str(path), ARCHITECTURE)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("conv1.0.weight", torch.ones(24, 3, 5, 5), r"do not fit .*conv1\.0\.weight.*24, 3, 3, 3"),
        ("fc.bias", torch.ones(9), r"do not fit .*fc\.bias is \[9\], expected \[7\]"),
        ("fc.bias", torch.ones(()), r"do not fit .*fc\.bias is \[\], expected \[7\]"),
    ],
)
def test_misshapen_tensors(
    network: nn.Module, tmp_path: Path, key: str, value: Tensor, message: str
) -> None:
    path = tmp_path / "w.pth"
    torch.save({**network.state_dict(), key: value}, path)

    with pytest.raises(SourceError, match=re.compile(message, re.DOTALL)):
        load_weights(str(path), ARCHITECTURE)


def test_weights_of_another_architecture(network: nn.Module, tmp_path: Path) -> None:
    path = save(network, tmp_path / "w.safetensors")

    for architecture in ("resnet18", "squeezenet1_1"):
        with pytest.raises(SourceError, match=f"fit {architecture}.*those of {ARCHITECTURE}: give"):
            load_weights(str(path), architecture)


def test_a_file_that_says_it_is_another_architecture(network: nn.Module, tmp_path: Path) -> None:
    path = save(network, tmp_path / "w.safetensors", architecture=ARCHITECTURE)

    with pytest.raises(SourceError, match=f"it is a {ARCHITECTURE}, not a resnet50; add --source"):
        load_weights(str(path), "resnet50")


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": "not JSON"},
        {"labels": "3"},
        {"preprocessing": "[1]"},
        {"preprocessing": '{"mean": [1, 2]}'},
        {"preprocessing": '{"std": [1, 2, "x"]}'},
        {"preprocessing": '{"std": [0.2, 0, 0.2]}'},
        {"preprocessing": '{"std": [0.2, -0.2, 0.2]}'},
        {"preprocessing": '{"mean": [NaN, 0.5, 0.5]}'},
        {"preprocessing": '{"mean": [123.7, 116.3, 103.5]}'},
        {"stride_in_1x1": "yes"},
        {"preprocessing": "[" * 99_999},
        {"labels": '"abcdefg"'},
        {"labels": "[1, 2, 3, 4, 5, 6, 7]"},
    ],
)
def test_metadata_that_cannot_be_read(
    network: nn.Module, tmp_path: Path, metadata: dict[str, str]
) -> None:
    path = save(network, tmp_path / "w.safetensors", **metadata)

    with pytest.raises(SourceError, match=r"the metadata of .*w\.safetensors cannot be read: "):
        load_weights(str(path), ARCHITECTURE)


def test_what_a_file_does_not_say_is_told(random_network: RandomNetwork, tmp_path: Path) -> None:
    network, told = random_network("resnet50"), list[str]()
    silent = save(network, tmp_path / "silent.safetensors")
    whole = {"stride_in_1x1": "true", "preprocessing": '{"mean": [0, 0, 0], "std": [1, 1, 1]}'}
    saying = save(network, tmp_path / "saying.safetensors", **whole)

    load_weights(str(saying), "resnet50", say=told.append)
    assert told == []
    placed = load_weights(str(silent), "resnet50", ReadOptions(stride_in_1x1=True), told.append)
    assert "stride" not in told.pop()
    taken = load_weights(str(silent), "resnet50", say=told.append)
    assert "strides on the 3x3 convolutions (else give --stride-in-1x1)" in told[0]
    assert "mean 0.485, 0.456, 0.406" in told[0]

    assert placed.stride_in_1x1
    assert placed.fingerprint() != taken.fingerprint()
    named = load_weights(str(saying), "resnet50").build()
    assert torch.equal(answers(placed.build()), answers(named))
    assert not torch.allclose(answers(placed.build()), answers(taken.build()))


def test_labels_must_be_as_many_as_the_classes(network: nn.Module, tmp_path: Path) -> None:
    path = save(network, tmp_path / "w.safetensors", labels='["a", "b"]')

    with pytest.raises(SourceError, match="2 labels were given for a source of 7 classes"):
        load_weights(str(path), ARCHITECTURE)


def test_labels_given_beside_the_file(weights: SourceWeights) -> None:
    named = replace(weights, labels=None).with_labels(list("abcdefg"))

    assert named.labels == tuple("abcdefg")
    with pytest.raises(SourceError, match="8 labels were given for a source of 7 classes"):
        weights.with_labels(list("abcdefgh"))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("missing.safetensors", r"there is no weights file missing\.safetensors"),
        ("missing.pth", r"there is no weights file missing\.pth"),
        ("imagenet22k", r"resnet18 has no weights called 'imagenet22k'.*IMAGENET1K_V1"),
        ("IMAGENET1K_V9", r"has no weights called 'IMAGENET1K_V9'"),
    ],
)
def test_names_that_mean_nothing(weights: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        load_weights(weights, "resnet18")


def test_a_download_without_a_home_folder_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose user is a number: torch would make a folder called `~` here."""

    def unknown(*_: object) -> None:
        raise KeyError

    for name in ("HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.setattr("socket.getaddrinfo", unknown)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SourceError, match=r"no home folder.*Set HOME, or TORCH_HOME.*--weights"):
        load_weights("imagenet", "resnet18")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    path.write_bytes(b"x")

    with pytest.raises(SourceError, match=r"weights\.onnx cannot be read as a file of tensors"):
        load_weights(str(path), "resnet18")


@pytest.mark.parametrize("weights", ["imagenet", "w.safetensors"])
def test_an_unknown_architecture(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(network, tmp_path / "w.safetensors")

    with pytest.raises(SourceError, match=r"no network called 'resnet19'.*resnet18"):
        load_weights(weights, "resnet19")


class TestDownloads:
    """torchvision's named weights, with the download replaced."""

    @pytest.fixture
    def urls(self, monkeypatch: pytest.MonkeyPatch, random_network: RandomNetwork) -> list[str]:
        asked: list[str] = []

        def download(url: str, **_: Any) -> dict[str, Tensor]:
            asked.append(url)
            if "googlenet" in url:  # torchvision's file has the training heads in it
                training = torchvision.models.googlenet(aux_logits=True, init_weights=False)
                return dict(training.state_dict())
            return dict(random_network("resnet18", classes=1000).state_dict())

        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
        return asked

    @pytest.mark.parametrize("name", ["imagenet", "ImageNet", "imagenet1k_v1", "IMAGENET1K_V1"])
    def test_names(self, urls: list[str], name: str) -> None:
        weights = load_weights(name, "resnet18")

        member = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
        assert urls == [member.url]
        assert weights.labels == tuple(member.meta["categories"])
        assert (weights.mean, weights.std) == (IMAGENET_MEAN, IMAGENET_STD)
        assert "IMAGENET1K_V1" in weights.origin

    def test_a_folder_of_that_name_is_no_weights_file(
        self, urls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "imagenet").mkdir()  # where the pictures lie
        monkeypatch.chdir(tmp_path)

        load_weights("imagenet", "resnet18")

        assert len(urls) == 1

    def test_weights_without_a_classifier_are_not_fetched(self, urls: list[str]) -> None:
        with pytest.raises(SourceError, match="IMAGENET1K_FEATURES of vgg16 has no classifier"):
            load_weights("IMAGENET1K_FEATURES", "vgg16")
        assert urls == []

    @pytest.mark.parametrize("architecture", ["googlenet", "inception_v3", "efficientnet_v2_l"])
    def test_the_normalisation_is_that_of_torchvisions_weights(self, architecture: str) -> None:
        """Of the two ports torchvision moves the pictures inside the network."""
        assert normalisation(architecture) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        if architecture == "efficientnet_v2_l":
            family = torchvision.models.get_model_weights(architecture)
            assert family.IMAGENET1K_V1.transforms().mean == [0.5, 0.5, 0.5]

    @pytest.mark.usefixtures("urls")
    def test_a_port_from_tensorflow_answers_as_torchvision_does(self) -> None:
        """Its weights expect [-1, 1]; torchvision's `transform_input` brings them there."""
        torch.manual_seed(0)
        weights = load_weights("imagenet", "googlenet")
        wanted = torchvision.models.googlenet(
            transform_input=True, init_weights=False, aux_logits=False
        ).eval()
        wanted.load_state_dict(weights.state, strict=False)
        pictures = torch.rand(2, 3, 64, 64)

        def normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
            return (pictures - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

        logits = Source(weights)(normalised(weights.mean, weights.std))["logits"]
        with torch.no_grad():
            expected = wanted(normalised(IMAGENET_MEAN, IMAGENET_STD))
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.usefixtures("urls")
    def test_a_port_from_tensorflow_in_a_file(self, tmp_path: Path) -> None:
        named = load_weights("imagenet", "googlenet")
        path = tmp_path / "googlenet.pth"
        torch.save(torchvision.models.googlenet(init_weights=False).state_dict(), path)

        from_file = load_weights(str(path), "googlenet")

        assert set(from_file.state) == set(named.state)
        assert (from_file.mean, from_file.std) == (named.mean, named.std)

    @pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("invalid hash value")])
    def test_a_failing_download_says_what_to_fetch(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def download(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)

        with pytest.raises(SourceError, match=rf"could not download.*{error}.*https://.*--weights"):
            load_weights("imagenet", "resnet18")


class StrideInOne(nn.Module):
    """The original bottleneck, written out: the first 1x1 convolution has the stride."""

    def __init__(self, block: Bottleneck, stride: int) -> None:
        super().__init__()
        self.block, self.stride = block, stride

    def forward(self, x: Tensor) -> Tensor:
        block, stride = self.block, self.stride
        conv = nn.functional.conv2d
        y = block.bn1(conv(x, block.conv1.weight, stride=stride)).relu()
        y = block.bn2(conv(y, block.conv2.weight, padding=1)).relu()
        y = block.bn3(conv(y, block.conv3.weight))
        if block.downsample is not None:
            x = block.downsample[1](conv(x, block.downsample[0].weight, stride=stride))
        result: Tensor = (x + y).relu()
        return result


def test_a_resnet_with_its_stride_in_the_1x1_convolution(
    random_network: RandomNetwork, tmp_path: Path
) -> None:
    network = random_network("resnet50")
    path = save(network, tmp_path / "v1.safetensors", stride_in_1x1="true")
    layers = dict(network.named_children())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = layers["maxpool"](layers["bn1"](layers["conv1"](images)).relu())
        for stage in (1, 2, 3, 4):
            for number, block in enumerate(layers[f"layer{stage}"].children()):
                assert isinstance(block, Bottleneck)
                x = StrideInOne(block, 2 if stage > 1 and number == 0 else 1)(x)
        expected = layers["fc"](x.mean((2, 3)))

    weights = load_weights(str(path), "resnet50")
    features = Source(weights)(images)

    assert weights.stride_in_1x1
    error = (features["logits"] - expected).abs().max() / expected.abs().max()
    assert error < 1e-4
    assert (answers(network) - expected).abs().max() / expected.abs().max() > 0.01
    # What the 3x3 convolution reads is already at half the size.
    assert features["layer2.0.conv1"].shape[2:] == (16, 16)
    assert features["layer2.0.conv2"].shape[2:] == (8, 8)


def test_stride_in_1x1_needs_bottlenecks(weights: SourceWeights) -> None:
    with pytest.raises(SourceError, match="is for bottleneck ResNets; resnet18 has no bottleneck"):
        replace(weights, stride_in_1x1=True).build()


@pytest.mark.parametrize(
    "architecture", ["resnet18", "mnasnet1_0", "densenet121", "regnet_y_400mf"]
)
def test_a_built_network_answers_as_the_one_it_was_read_from(
    random_weights: RandomWeights, random_network: RandomNetwork, architecture: str
) -> None:
    built = random_weights(architecture).build()

    assert torch.equal(answers(built), answers(random_network(architecture)))
    assert not any(layer.training for layer in built.modules())


def test_a_network_to_be_trained_has_fresh_weights() -> None:
    torch.manual_seed(0)
    network = build_architecture("resnet18", 5)
    torch.manual_seed(0)
    reference = torchvision.models.resnet18(num_classes=5)

    state = reference.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_the_architectures_are_torchvisions_classifiers() -> None:
    assert {"resnet18", "efficientnet_b0"} < set(architectures())
    assert not {"fcn_resnet50", "r3d_18"} & set(architectures())


def test_the_hash_covers_names_types_shapes_and_values() -> None:
    base = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3]])}
    others: list[dict[str, Tensor]] = [
        {"a": torch.tensor([1.0, 2.5]), "b": base["b"]},
        {"c": base["a"], "b": base["b"]},
        {"a": base["a"].view(1, 2), "b": base["b"]},
        {"a": base["a"].view(torch.int32), "b": base["b"]},
        {"a": base["a"]},
    ]
    hashes = {hash_tensors(state) for state in (base, *others)} | {hash_tensors(base, "x")}

    assert len(hashes) == len(others) + 2
    assert hash_tensors(dict(reversed(base.items()))) == hash_tensors(base)
    transposed = torch.arange(6.0).view(2, 3).t()
    assert hash_tensors({"a": transposed}) == hash_tensors({"a": transposed.contiguous()})


def test_the_hash_is_what_it_says() -> None:
    """The file format stands on it: a change would make every store foreign."""
    text = b'x["a", "torch.float32", [2]]' + b"\x00\x00\x80\x3f\x00\x00\x00\x40"

    assert hash_tensors({"a": torch.tensor([1.0, 2.0])}, "x") == hashlib.sha256(text).hexdigest()


def loads_or_refuses(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        weights = load_weights(str(path), ARCHITECTURE)
    except SourceError:
        return
    built = weights.build().state_dict()
    expected = build_architecture(ARCHITECTURE, weights._num_classes()).state_dict()
    assert {key: value.shape for key, value in built.items()} == {
        key: value.shape for key, value in expected.items()
    }


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_safetensors_give_a_source_error_or_load(
    tmp_path: Path, safetensors_bytes: bytes, data: st.DataObject
) -> None:
    """A flipped bit in a weight cannot be seen; everywhere else it must be refused."""
    header = 8 + int.from_bytes(safetensors_bytes[:8], "little")
    content = bytearray(safetensors_bytes)
    for _ in range(data.draw(st.integers(1, 3), "flips")):
        place = data.draw(st.integers(0, header + 64), "byte")
        content[place] ^= 1 << data.draw(st.integers(0, 7), "bit")

    loads_or_refuses(tmp_path / "w.safetensors", bytes(content))


@settings(max_examples=30)
@given(data=st.data())
def test_truncated_safetensors_are_refused(
    tmp_path: Path, safetensors_bytes: bytes, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, len(safetensors_bytes) - 1), "length")
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes[:length])

    with pytest.raises(SourceError, match=r"w\.safetensors cannot be read as a file of tensors"):
        load_weights(str(path), ARCHITECTURE)


@settings(max_examples=40)
@given(content=st.binary(max_size=200), suffix=st.sampled_from(["safetensors", "pth", "pt"]))
def test_files_of_anything_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content)

    with pytest.raises(
        SourceError,
        match=r"cannot be read as a file of tensors|or is damaged|other things than tensors",
    ):
        load_weights(str(path), ARCHITECTURE)


@settings(max_examples=30)
@given(data=st.data())
def test_truncated_torch_files_are_refused(
    tmp_path: Path, network: nn.Module, data: st.DataObject
) -> None:
    path = tmp_path / "w.pth"
    torch.save(network.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1), "length")])

    with pytest.raises(SourceError, match=r"w\.pth (cannot be read as a file of|holds other)"):
        load_weights(str(path), ARCHITECTURE)


@pytest.mark.parametrize(
    "architecture", ["convnext_tiny", "efficientnet_b0", "regnet_y_400mf", "mnasnet0_5"]
)
def test_no_weight_is_drawn_whatever_lies_in_new_memory(architecture: str) -> None:
    """torch's truncated normal draws until all values are in range: NaN never is."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # fills new memory with NaN
    try:
        network = unfilled_network(architecture, 3)
    finally:
        torch.use_deterministic_algorithms(deterministic)

    drawn = [name for name, value in network.named_parameters() if value.max() > value.min()]
    assert not drawn
