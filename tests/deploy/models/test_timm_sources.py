"""Sources of timm's, on random weights: small ones of each kind of block."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from snow_deploy.errors import SourceError
from snow_deploy.models.delta import Delta
from snow_deploy.models.module_facts import ModuleFacts, facts_of_config
from snow_deploy.models.module_weights import weights_of_module
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_deploy.models.timm_source import timm_facts, timm_network
from snow_deploy.models.weights import ReadOptions, load_weights
from snow_export.export import export_graph
from snow_runtime.pictures.preprocessing import prepare
from tests.export.requests import request_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

timm = pytest.importorskip("timm")
SIZE = 64


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every norm statistics that are not those of a new one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                shape = layer.running_mean.shape  # type: ignore[union-attr]
                layer.running_mean.copy_(torch.rand(shape, generator=generator) * 0.2)  # type: ignore[union-attr]
                layer.running_var.copy_(torch.rand(shape, generator=generator) + 0.7)  # type: ignore[union-attr]
    return network.eval()


def resnet(**options: Any) -> Callable[[], nn.Module]:
    from timm.models.resnet import BasicBlock, ResNet

    block: Any = BasicBlock
    return lambda: ResNet(block, (1, 1, 1, 1), num_classes=9, channels=(16, 16, 32, 32), **options)


def anti_aliased() -> nn.Module:
    from timm.layers.blur_pool import BlurPool2d

    return resnet(aa_layer=BlurPool2d, stem_type="deep", avg_down=True)()


def ghostnet() -> nn.Module:
    from timm.models.ghostnet import GhostNet

    blocks: Any = [[[3, 17, 17, 0, 1]], [[3, 24, 20, 0.25, 2]], [[5, 60, 21, 0.25, 2]]]
    return GhostNet(cfgs=blocks, num_classes=9, width=1.0)


def named(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False, num_classes=9, **options)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet, anti-aliased": anti_aliased,
    "resnet, ECA": resnet(block_args={"attn_layer": "eca"}),
    "resnet, SE": resnet(block_args={"attn_layer": "se"}, replace_stem_pool=True),
    "resnet, pre-activated": named("test_resnet"),
    "byobnet": named("test_byobnet"),
    "convnext": named("test_convnext"),
    "convnext v2": named("test_convnext2"),
    "efficientnet": named("test_efficientnet"),
    "efficientnet, GroupNorm": named("test_efficientnet_gn"),
    "nfnet": named("test_nfnet"),
    "efficientnet of TensorFlow": named("tf_efficientnet_lite0"),
    "ghostnet": ghostnet,
    "mobilenet v4": named("mobilenetv4_conv_small_035"),
}


QUICK = ("resnet, anti-aliased", "convnext v2", "efficientnet of TensorFlow", "ghostnet")


def one_source(make: Callable[[], nn.Module]) -> tuple[nn.Module, Source]:
    torch.manual_seed(0)
    network = settled(make())
    return network, Source(weights_of_module(network, ModuleFacts("timm:one", image_size=SIZE)))


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
def test_a_network_is_traced_trained_on_and_exported(name: str, tmp_path: Path) -> None:
    network, source = one_source(NETWORKS[name])
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(source(images)["logits"], network(images), rtol=1e-3, atol=1e-4)
    assert source.num_classes == 9
    assert len(source.anatomy.taps) > 2

    delta = Delta(source, 3, DeltaOptions(k_divisor=4, width_divisor=4))
    logits = delta(images, source(images))
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 2]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in delta.parameters())
    torch.optim.SGD(delta.parameters(), 1e-3).step()

    request = request_for(source, {"a": delta.eval()}, {"a": ("x", "y", "z")}, count=2)
    (parity,) = export_graph(request, tmp_path / "a.onnx")  # raises where it does not agree
    assert parity.task == "a"


def test_a_fresh_start_keeps_the_blur() -> None:
    _, source = one_source(anti_aliased)
    trained, fresh = source.weights.build().state_dict(), source.weights.build_anew().state_dict()
    blurs = [key for key, value in trained.items() if value.shape[:2] == (1, 1)]
    assert blurs
    assert all(torch.equal(trained[key], fresh[key]) for key in blurs)
    assert not any(torch.equal(trained[key], fresh[key]) for key in trained if "conv1.w" in key)


@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0", "fastvit_t8"])
def test_branches_for_training_become_one_convolution(name: str) -> None:
    torch.manual_seed(0)
    network = settled(timm.create_model(name, pretrained=False, num_classes=4))
    before = sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())

    built = weights_of_module(network, ModuleFacts(f"timm:{name}", image_size=SIZE)).build()

    images = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        expected, found = network(images), built(images)
    assert float((expected - found).abs().max() / expected.abs().max()) < 1e-4
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in built.modules()) < before / 3


@pytest.mark.parametrize("name", ["test_vit", "mobilenetv4_hybrid_medium"])
def test_attention_is_refused_by_the_name_of_its_block(name: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False)
    with pytest.raises(SourceError, match=r"attention blocks \(blocks\.\S+ is a \w*Attention\)"):
        weights_of_module(network, ModuleFacts(f"timm:{name}"))


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = settled(timm.create_model("test_efficientnet", pretrained=False, num_classes=5))
    path = tmp_path / "small.safetensors"
    state = {f"module.{key}": value.half() for key, value in network.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path


def test_a_file_and_what_the_configuration_says_make_the_source(small_file: Path) -> None:
    weights = load_weights(str(small_file), "timm:test_efficientnet", ReadOptions(image_size=SIZE))

    config = timm.get_pretrained_cfg("test_efficientnet")
    assert weights.image_size == config.input_size[-1]
    assert (weights.mean, weights.std) == (config.mean, config.std)
    assert (weights.crop_share, weights.interpolation) == (config.crop_pct, config.interpolation)
    assert weights.origin == "small.safetensors"
    assert Source(weights).num_classes == 5


def test_the_store_needs_timm_no_more(
    small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snow_deploy.training.store import Store

    weights = load_weights(str(small_file), "timm:test_efficientnet")
    Store(tmp_path / "store").put_source(weights)
    monkeypatch.setitem(sys.modules, "timm", None)

    kept = Store(tmp_path / "store").source_weights()

    assert kept.fingerprint() == weights.fingerprint()
    assert kept.preprocessing(100) == weights.preprocessing(100)
    images = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(kept.build()(images), weights.build()(images))
    with pytest.raises(SourceError, match=r"timm, which is not installed.*pip install"):
        load_weights(None, "timm:test_efficientnet")


def test_weights_of_a_sibling_are_named(small_file: Path) -> None:
    with pytest.raises(SourceError, match="give --source timm:test_efficientnet"):
        load_weights(str(small_file), "timm:test_efficientnet_gn")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet81", "no network called 'resnet81'. Did you mean .*resnet"),
        ("resnet18.no_such", "no weights 'no_such' for resnet18. It has: .*a1_in1k"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(name: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        timm_facts(f"timm:{name}", print)


def test_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "no route to the hub"
        raise OSError(msg)

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(SourceError, match=r"no route to the hub.*--weights FILE"):
        timm_network("timm:resnet18", pretrained=True, say=print)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("share", "size"), [(0.875, 64), (0.95, 72), (1.0, 64)])
def test_pictures_are_prepared_as_timm_does_within_a_grey_level(
    interpolation: str, share: float, size: int
) -> None:
    from timm.data.transforms_factory import create_transform

    from snow_deploy.models.source_weights import SourceWeights

    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    config = {"input_size": (3, size, size), "crop_pct": share, "interpolation": interpolation}
    facts = facts_of_config("one", {**config, "mean": mean, "std": std}, print)
    weights = SourceWeights(
        "one", {}, mean=facts.mean, std=facts.std, graph="",
        crop_share=facts.crop_share, interpolation=facts.interpolation,
    )  # fmt: skip
    smooth = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(smooth).resize((131, 97), Image.Resampling.BICUBIC)

    found = prepare(picture, weights.preprocessing(facts.image_size))

    reference = create_transform(
        (3, size, size), interpolation=interpolation, crop_pct=share, mean=mean, std=std
    )(picture).numpy()
    levels = np.abs(found - reference) * np.reshape(std, (3, 1, 1)) * 255
    assert levels.max() < 1.001
    assert levels.mean() < 0.1
