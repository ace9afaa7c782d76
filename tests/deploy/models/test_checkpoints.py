"""Checkpoints as trainings, wrappers and profilers leave them."""

from __future__ import annotations

import argparse
import math
import os
import re
import warnings
from collections import OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel
from torchvision.models import densenet, mnasnet

from snow_deploy.errors import SourceError
from snow_deploy.models.architectures import architectures, network_keys
from snow_deploy.models.weights import ReadOptions, load_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_deploy.models.source_weights import SourceWeights
    from tests.conftest import RandomNetwork

ARCHITECTURE = "resnet18"

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network(random_network: RandomNetwork) -> nn.Module:
    return random_network(ARCHITECTURE)


@pytest.fixture(scope="module")
def state(network: nn.Module) -> State:
    return dict(network.state_dict())


def answers(network: nn.Module) -> Tensor:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits: Tensor = network.eval()(images)
    return logits


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def changed(state: State) -> State:
    """Return other weights of the same network."""
    return {key: v * 1.5 if v.is_floating_point() else v for key, v in state.items()}


class Loader:
    """Saves what it is given and loads it, with what was told."""

    def __init__(self, path: Path) -> None:
        self.path, self.told = path, list[str]()

    def __call__(
        self, content: Any, architecture: str = ARCHITECTURE, key: str | None = None
    ) -> SourceWeights:
        torch.save(content, self.path)
        self.told = []
        return load_weights(str(self.path), architecture, ReadOptions(key), self.told.append)


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    return Loader(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "place",
    [
        *("state_dict", "model", "model_state_dict", "net", "network", "model_state", "weights"),
        *("ema", "model_ema", "state_dict_ema", "teacher", "checkpoint.model", "0"),
    ],
)
def test_containers(network: nn.Module, state: State, load: Loader, place: str) -> None:
    content: Any = state
    for part in reversed(place.split(".")):
        content = [content] if part == "0" else {part: content}
    if isinstance(content, dict):
        moments = {0: {"momentum_buffer": torch.ones(64, 3, 7, 7)}}
        optimizer = {"state": moments, "param_groups": [{"lr": 0.1, "params": [0]}]}
        content |= {"epoch": 3, "optimizer": optimizer, "best": np.float64(0.5), "arch": "x"}

    weights = load(content)

    assert torch.equal(answers(weights.build()), answers(network))
    assert list(weights.state) == list(network_keys(ARCHITECTURE).shapes)


@pytest.mark.parametrize(
    "prefix",
    [
        *("model.", "_orig_mod.", "module.", "backbone.", "net.", "encoder.", "module.module."),
        *("module._orig_mod.", "_orig_mod.module.", "model._orig_mod.", "module.model.net."),
        *("module.model._orig_mod.backbone.", "_forward_module.model.", "anything_at_all."),
    ],
)
def test_prefixes(network: nn.Module, state: State, load: Loader, prefix: str) -> None:
    weights = load(prefixed(state, prefix))

    assert torch.equal(answers(weights.build()), answers(network))


def test_real_wrappers(network: nn.Module, load: Loader) -> None:
    wrapped: dict[str, Any] = {
        "replicas": nn.DataParallel(network),
        "average": AveragedModel(network),
        "compiled": torch.compile(network),
        "average of compiled": AveragedModel(
            nn.DataParallel(cast("nn.Module", torch.compile(network)))
        ),
    }
    for name, one in wrapped.items():
        weights = load({"model": one.state_dict()})
        assert torch.equal(answers(weights.build()), answers(network)), name


def rename_layers(state: State, renames: dict[str, str]) -> State:
    def renamed(key: str) -> str:
        for begin, new in renames.items():
            if key.startswith(begin):
                return new + key.removeprefix(begin)
        return key

    return {renamed(key): value for key, value in state.items()}


@pytest.mark.parametrize(
    "renames",
    [
        {"layer1.": "layer1._orig_mod."},  # a stage compiled
        {"layer2.0.": "layer2.0.module.", "layer3.": "layer3._checkpoint_wrapped_module."},
        {"layer": "module.layer", "bn1": "module.bn1"},  # half of it wrapped
        {"layer1": "model.layer1", "layer4": "model.layer4", "fc": "model.fc"},
        {"conv1": "backbone.conv1", "bn1": "backbone.bn1", "layer": "backbone.layer"},
        {"": "backbone.", "fc": "head.fc"},
    ],
)
def test_mixed_prefixes(
    network: nn.Module, state: State, load: Loader, renames: dict[str, str]
) -> None:
    for content in (rename_layers(state, renames), {"model": rename_layers(state, renames)}):
        assert torch.equal(answers(load(content).build()), answers(network))


def test_modules_saved_one_by_one(network: nn.Module, state: State, load: Loader) -> None:
    body = {key: value for key, value in state.items() if not key.startswith("fc.")}
    head = {"weight": state["fc.weight"], "bias": state["fc.bias"]}

    weights = load({"backbone": body, "classifier": head, "epoch": 1})

    assert torch.equal(answers(weights.build()), answers(network))


@pytest.mark.parametrize(
    ("suffix", "old"),
    [*((each, False) for each in ("pth.tar", "ckpt", "bin", "PTH")), ("pth.tar", True)],
)
def test_names_of_files(
    network: nn.Module, state: State, tmp_path: Path, suffix: str, old: bool
) -> None:
    path = tmp_path / f"w.{suffix}"
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=not old)

    weights = load_weights(str(path), ARCHITECTURE)

    assert torch.equal(answers(weights.build()), answers(network))


def test_counters_of_averages_and_profilers(network: nn.Module, state: State, load: Loader) -> None:
    counted = dict(state)
    for name, _ in network.named_modules():
        for counter in ("total_ops", "total_params"):
            counted[f"{name}.{counter}" if name else counter] = torch.zeros(1, dtype=torch.float64)
    counted |= {"n_averaged": torch.tensor(7), "num_updates": torch.tensor(3.0)}
    for key in [key for key in counted if key.endswith("num_batches_tracked")]:
        del counted[key]

    for content in (counted, {"state_dict": prefixed(counted, "module.")}):
        assert torch.equal(answers(load(content).build()), answers(network))
        assert len(load.told) == 1  # what is assumed of any file


def test_settings_beside_the_weights(network: nn.Module, state: State, load: Loader) -> None:
    """Nothing of them is read: neither their classes nor what they hold."""
    beside = {
        "args": argparse.Namespace(lr=0.1, out=Path("x")),
        "metrics": defaultdict(list, {"top1": [np.float32(1), np.arange(3)]}),
        "history": OrderedDict(a=1),
    }

    weights = load({"model": state, **beside})

    assert torch.equal(answers(weights.build()), answers(network))


def test_hyperparameters_of_many_classes(network: nn.Module, state: State, load: Loader) -> None:
    """As Lightning keeps the arguments of a module, whatever they were."""
    plain = {"decay": Decimal(1), "metrics": deque([1, 2]), "rate": Fraction(1, 3)}
    called = {"optimizer": partial(torch.optim.SGD, lr=0.1), "criterion": nn.CrossEntropyLoss()}
    others = {"sizes": range(3), "cut": slice(1, 2), "frozen": frozenset([1]), "act": nn.GELU()}
    hyper = {**plain, **called, **others, "more": SimpleNamespace(a=1)}
    content = {"state_dict": prefixed(state, "model."), "hyper_parameters": hyper}

    assert torch.equal(answers(load(content).build()), answers(network))


def test_a_function_among_hyperparameters_is_refused(state: State, load: Loader) -> None:
    content = {"state_dict": state, "hyper_parameters": {"f": partial(os.system, "false")}}

    with pytest.raises(SourceError, match=r"other things than tensors \(posix\.system\)"):
        load(content)


def test_other_modules_beside_the_network(network: nn.Module, state: State, load: Loader) -> None:
    beside = {"criterion.weight": torch.ones(7), "projector.0.weight": torch.ones(64, 512)}

    for content in (
        {"state_dict": {**prefixed(state, "model."), **beside}},
        {"state_dict": {**state, **beside}},
        {"state_dict": prefixed({**state, **beside}, "model.")},
    ):
        assert torch.equal(answers(load(content).build()), answers(network))
    assert any("passed over beside the weights: criterion, projector" in n for n in load.told)


def test_the_backbone_of_a_larger_network(network: nn.Module, state: State, load: Loader) -> None:
    """As a detector has it: what else there is, is named by where it is."""
    content = {
        **prefixed(state, "backbone.body."),
        "backbone.fpn.inner_blocks.0.0.weight": torch.ones(2, 2),
        "rpn.head.conv.weight": torch.ones(2, 2),
        "roi_heads.box_head.fc6.weight": torch.ones(2, 2),
    }

    weights = load({"model": content, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}})

    assert torch.equal(answers(weights.build()), answers(network))
    (note,) = [line for line in load.told if "passed over" in line]
    assert note.endswith(": model.backbone.fpn, model.rpn, model.roi_heads.")


def test_containers_that_hold_one_another_many_times(state: State, load: Loader) -> None:
    """A few hundred bytes, which unfold to a billion tensors."""
    many: Any = [torch.zeros(1)]
    for _ in range(6):
        many = [many] * 40

    with pytest.raises(SourceError, match=r"unfold to more than any memory"):
        load({"state_dict": state, "beside": many})
    with pytest.raises(SourceError, match=r"more than 200000 containers and tensors"):
        load({"state_dict": state, "beside": [[] for _ in range(200_000)]})


class TestSeveralSets:
    def test_the_plain_one_is_taken_and_the_average_told(
        self, network: nn.Module, state: State, load: Loader
    ) -> None:
        content = {"state_dict_ema": changed(state), "state_dict": state}

        weights = load(content)

        assert torch.equal(answers(weights.build()), answers(network))
        (told,) = (line for line in load.told if "several" in line)
        assert "state_dict is taken, state_dict_ema passed over" in told
        assert "--weights-key" in told

    def test_the_average_can_be_chosen(
        self, network: nn.Module, state: State, load: Loader
    ) -> None:
        content = {
            "model": changed(state),
            "model_ema": {**prefixed(state, "module."), "n_averaged": torch.tensor(3)},
        }

        weights = load(content, key="model_ema")

        assert torch.equal(answers(weights.build()), answers(network))
        assert weights.origin == "w.pth: model_ema"
        assert not any("several" in line for line in load.told)

    def test_averages_within_one_state_dict(
        self, network: nn.Module, state: State, load: Loader
    ) -> None:
        both = prefixed(state, "model.") | prefixed(changed(state), "ema_model.module.")

        weights = load({"state_dict": both})
        chosen = load({"state_dict": both}, key="state_dict.ema_model")

        assert torch.equal(answers(weights.build()), answers(network))
        assert torch.equal(chosen.state["bn1.weight"], state["bn1.weight"] * 1.5)

    def test_an_average_that_is_equal_is_not_told(self, state: State, load: Loader) -> None:
        load({"model": state, "ema": {k: v.clone() for k, v in state.items()}})

        assert not any("several" in line for line in load.told)

    @pytest.mark.parametrize("names", [("student", "teacher"), ("encoder_q", "encoder_k")])
    def test_which_one_must_be_said_where_nothing_tells(
        self, network: nn.Module, state: State, load: Loader, names: tuple[str, str]
    ) -> None:
        one, other = names
        content = {one: changed(state), other: state}

        with pytest.raises(SourceError, match=rf"{one}, {other}\. Choose one.*--weights-key"):
            load(content)
        assert torch.equal(answers(load(content, key=other).build()), answers(network))

    def test_a_damaged_one_is_not_silently_passed_over_for_the_average(
        self, state: State, load: Loader
    ) -> None:
        broken = {**state, "bn1.bias": torch.full((64,), float("nan"))}

        with pytest.raises(SourceError, match=r"state_dict\): cannot|state_dict\) cannot be used"):
            load({"state_dict": broken, "state_dict_ema": state})

    def test_a_key_that_is_not_there(self, state: State, load: Loader) -> None:
        with pytest.raises(
            SourceError, match=r"holds nothing called 'ema'; it holds 2 parts \(model, other\)"
        ):
            load({"model": state, "other": {"x": torch.ones(2)}}, key="ema")


class TestHeads:
    @staticmethod
    def body(state: State) -> State:
        return {key: value for key, value in state.items() if not key.startswith("fc.")}

    @pytest.mark.parametrize(
        "name", ["fc.0", "fc.1", "head", "head.fc", "classifier", "last_linear"]
    )
    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_a_head_of_another_name(
        self, network: nn.Module, state: State, load: Loader, name: str, prefix: str
    ) -> None:
        """Dropout or nothing stands before it in a sequence: neither is there in eval mode."""
        head = {f"{name}.weight": state["fc.weight"], f"{name}.bias": state["fc.bias"]}

        weights = load(prefixed(self.body(state) | head, prefix))

        assert torch.equal(answers(weights.build()), answers(network))
        assert weights.has_classifier

    @pytest.mark.parametrize("name", ["fc", "fc.1", "head"])
    def test_a_head_without_bias(
        self, network: nn.Module, state: State, load: Loader, name: str
    ) -> None:
        weights = load(self.body(state) | {f"{name}.weight": state["fc.weight"]})

        expected = answers(network) - state["fc.bias"]
        torch.testing.assert_close(answers(weights.build()), expected)
        assert any("no bias" in line for line in load.told)

    @pytest.mark.parametrize(
        "head",
        [
            {},
            {"fc.0.weight": torch.ones(256, 512), "fc.2.weight": torch.ones(7, 256)},
            {"fc.0.weight": torch.ones(512), "fc.1.weight": torch.ones(7, 512)},  # a norm
            {"projector.weight": torch.ones(128, 512)},
        ],
        ids=["none", "two layers", "a norm in it", "a projection"],
    )
    def test_a_head_that_cannot_serve(self, state: State, load: Loader, head: State) -> None:
        """The features are the network's, and that there are no answers is told."""
        if "fc.weight" in head:
            with pytest.raises(
                SourceError, match=r"fc\.weight is \[7, 2048\], expected \[7, 512\]"
            ):
                load(self.body(state) | head)
            return

        weights = load({"state_dict": prefixed(self.body(state) | head, "module.")})

        assert not weights.has_classifier
        assert any("no answers of its own" in line for line in load.told)
        ours, theirs = weights.build(), torchvision.models.resnet18(num_classes=7)
        theirs.load_state_dict(state)
        for one in (ours, theirs):
            one.fc = nn.Identity()
        assert torch.equal(answers(ours), answers(theirs))

    def test_a_classifier_that_goes_on_behind_torchvisions(
        self, random_network: RandomNetwork, load: Loader
    ) -> None:
        state = dict(random_network("mobilenet_v2").state_dict())
        longer = {**state, "classifier.1.weight": torch.ones(256, 1280)}
        longer |= {"classifier.1.bias": torch.ones(256), "classifier.3.weight": torch.ones(7, 256)}

        weights = load(longer, "mobilenet_v2")

        assert not weights.has_classifier

    def test_a_classifier_in_the_place_of_a_sequence(
        self, random_network: RandomNetwork, load: Loader
    ) -> None:
        network = random_network("mobilenet_v2")
        renamed = rename_layers(dict(network.state_dict()), {"classifier.1.": "classifier."})

        assert torch.equal(answers(load(renamed, "mobilenet_v2").build()), answers(network))

    def test_a_head_of_another_width(self, state: State, load: Loader) -> None:
        with pytest.raises(SourceError, match=r"weight is \[7, 2048\], expected \[7, 512\]"):
            load({**state, "fc.weight": torch.ones(7, 2048)})

    def test_half_a_head_is_a_damaged_file(self, state: State, load: Loader) -> None:
        with pytest.raises(SourceError, match=r"1 missing \(fc\.weight\)"):
            load(self.body(state) | {"fc.bias": state["fc.bias"]})


class TestOlderFiles:
    @pytest.mark.parametrize("architecture", ["densenet121", "densenet161"])
    def test_a_densenet_as_published(
        self, random_network: RandomNetwork, load: Loader, architecture: str
    ) -> None:
        """torchvision itself is the judge: its own loading renames what is published."""
        network = random_network(architecture)
        older = {
            re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value
            for key, value in network.state_dict().items()
            if not key.endswith("num_batches_tracked")
        }
        assert "features.denseblock1.denselayer1.norm.1.weight" in older

        class Published:
            @staticmethod
            def get_state_dict(**_: Any) -> State:
                return dict(older)

        judge = torchvision.models.get_model(architecture, num_classes=7)
        densenet._load_state_dict(judge, Published(), progress=False)

        for content in (older, {"state_dict": prefixed(older, "module.")}):
            assert torch.equal(answers(load(content, architecture).build()), answers(judge))

    def test_a_densenet_by_name(
        self, random_network: RandomNetwork, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = random_network("densenet121", classes=1000)
        older = {
            re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value
            for key, value in network.state_dict().items()
        }
        monkeypatch.setattr(
            "torchvision.models._api.load_state_dict_from_url", lambda *_, **__: older
        )

        assert torch.equal(
            answers(load_weights("imagenet", "densenet121").build()), answers(network)
        )

    @pytest.mark.parametrize(("architecture", "alpha"), [("mnasnet0_5", 0.5), ("mnasnet1_3", 1.3)])
    @pytest.mark.filterwarnings("ignore:A new version of MNASNet")
    def test_a_mnasnet_of_the_first_version(
        self, load: Loader, architecture: str, alpha: float
    ) -> None:
        """Its stem had one width for all: torchvision builds it so on seeing the version."""
        first = mnasnet.MNASNet(alpha, num_classes=7)
        first._load_from_state_dict({}, "", {"version": 1}, False, [], [], [])
        state = first.state_dict()
        judge = mnasnet.MNASNet(alpha, num_classes=7)
        judge.load_state_dict(state)
        assert judge.layers[0].out_channels == 32

        weights = load(OrderedDict(state), architecture)

        assert torch.equal(answers(weights.build()), answers(judge))
        assert weights.build_anew().layers[0].out_channels == 32  # type: ignore[index,union-attr]

    @pytest.mark.parametrize("architecture", ["googlenet", "inception_v3"])
    def test_heads_for_training_only(
        self, random_network: RandomNetwork, load: Loader, architecture: str
    ) -> None:
        network = random_network(architecture)
        trained = torchvision.models.get_model(
            architecture, num_classes=7, init_weights=False, aux_logits=True
        )
        trained.load_state_dict(network.state_dict(), strict=False)
        images = torch.randn(1, 3, 96, 96)

        weights = load({"model": prefixed(trained.state_dict(), "module.")}, architecture)

        with torch.no_grad():
            assert torch.equal(weights.build()(images), network(images))

    @pytest.mark.parametrize(
        "architecture",
        [name for name in architectures() if not re.match(r"vit|swin|.*(128|32|16)gf", name)],
    )
    def test_every_architecture_knows_its_own_keys(self, architecture: str) -> None:
        keys = network_keys(architecture)

        assert keys.stem in keys.shapes
        assert keys.shapes[keys.stem][1] == 3
        assert keys.shapes[f"{keys.classifier}.weight"][0] == 1000


def test_pruned_weights_act_as_they_did(random_network: RandomNetwork, load: Loader) -> None:
    network = random_network(ARCHITECTURE)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            prune.l1_unstructured(layer, "weight", amount=0.5)  # type: ignore[no-untyped-call]
    expected = answers(network)

    assert torch.equal(answers(load(network.state_dict()).build()), expected)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_stem_for_other_pictures(state: State, load: Loader, channels: int) -> None:
    other = {**state, "conv1.weight": torch.ones(64, channels, 7, 7)}

    with pytest.raises(SourceError, match=rf"of {channels} channels?, expected 3 .*RGB|blue"):
        load({"state_dict": prefixed(other, "module.")})


def test_what_is_advised_for_grey_pictures_is_true() -> None:
    """One channel repeated and divided reads the mean of the three."""
    grey = torch.randn(8, 1, 7, 7)
    pictures = torch.randn(2, 3, 32, 32)

    expected = nn.functional.conv2d(pictures.mean(1, keepdim=True), grey, padding=3)
    repeated = nn.functional.conv2d(pictures, grey.repeat(1, 3, 1, 1) / 3, padding=3)

    torch.testing.assert_close(repeated, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["resnet34", "resnet50", "resnext50_32x4d", "densenet121"])
def test_the_right_architecture_is_named(
    random_network: RandomNetwork, load: Loader, architecture: str
) -> None:
    state = dict(random_network(architecture).state_dict())

    with pytest.raises(
        SourceError, match=rf"those of {architecture}: give --source {architecture}"
    ):
        load({"model": prefixed(state, "module.")})


HUGE = torch.zeros(1, 1).expand(1 << 40, 512)
"""Four bytes, which say that they are two petabytes."""
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch calls them a prototype
    NESTED = torch.nested.nested_tensor([torch.ones(2, 512), torch.ones(8, 512)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {**s, "layer2.0.conv3.0.filt": torch.ones(1)}, "filters of an anti-aliased"),
        (lambda s: {**s, "layer2.0.se.fc.weight": torch.ones(9)}, r"1 unexpected \(layer2\.0\.se"),
        (lambda s: {**s, "attention.weight": torch.ones(9)}, r"1 unexpected \(attention\.weight"),
        (lambda s: {**s, "x" * 9999: torch.ones(9)}, r"1 unexpected \(x{100}…\)"),
        (lambda s: {**s, "a\n\x1b[31m": torch.ones(9)}, r"1 unexpected \(.*a\\n\\x1b\[31m"),
        (lambda s: {k: v for k, v in s.items() if k != "bn1.bias"}, r"1 missing \(bn1\.bias\)"),
        (lambda s: {k: v for k, v in s.items() if "layer4" not in k}, r"25 missing \(layer4"),
        (lambda s: {**s, "conv1.weight": torch.ones(64, 3, 7, 7, dtype=torch.int8)}, "int8"),
        (lambda s: {**s, "conv1.weight": s["conv1.weight"].to_sparse()}, "sparse"),
        (lambda s: {**s, "fc.weight": s["fc.weight"].to(torch.complex64)}, "complex64"),
        (lambda s: {**s, "conv1.weight": s["conv1.weight"].to("meta")}, "holds a shape, and not"),
        (lambda s: {**s, "fc.weight": NESTED}, r"1 missing \(fc\.weight\)"),
        (
            lambda s: {**s, "fc.weight": HUGE, "fc.bias": HUGE[:, 0]},
            r"fc\.weight holds a shape, and not as many values",
        ),
        (
            lambda s: (
                {k: v for k, v in s.items() if k != "bn1.bias"}
                | {"bn1.bias_orig": HUGE, "bn1.bias_mask": HUGE}
            ),
            r"1 missing \(bn1\.bias\)",
        ),
    ],
)
def test_what_cannot_be_the_network_is_refused(
    state: State, load: Loader, change: Callable[[State], State], message: str
) -> None:
    for prefix in ("", "module."):
        with pytest.raises(SourceError, match=message) as told:
            load(prefixed(change(state), prefix))
        assert "Traceback" not in str(told.value)
        assert "\n" not in str(told.value)


class TestValues:
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize("key", ["layer2.0.conv1.weight", "bn1.running_mean", "fc.bias"])
    def test_what_is_not_finite_is_refused_by_its_key(
        self, state: State, load: Loader, key: str, value: float
    ) -> None:
        broken = state[key].clone()
        broken.view(-1)[3] = value

        with pytest.raises(SourceError, match=rf"1 of the \d+ values of module\.{key} are infin"):
            load(prefixed({**state, key: broken}, "module."))

    def test_a_negative_variance(self, state: State, load: Loader) -> None:
        broken = state["layer3.1.bn2.running_var"].clone()
        broken[[2, 5]] = -0.5

        with pytest.raises(
            SourceError, match=r"2 of the 256 variances in layer3\.1\.bn2\.running_var are below"
        ):
            load({**state, "layer3.1.bn2.running_var": broken})

    def test_a_variance_of_zero_is_one(self, state: State, load: Loader) -> None:
        dead = {**state, "bn1.running_var": torch.zeros(64)}

        assert load(dead).state["bn1.running_var"].max() == 0

    def test_of_eight_bits(self, state: State, load: Loader) -> None:
        small = {**state, "fc.weight": state["fc.weight"].to(torch.float8_e4m3fn)}

        assert torch.equal(load(small).state["fc.weight"], small["fc.weight"].float())
        broken = {**small, "fc.weight": torch.full((7, 512), math.nan).to(torch.float8_e4m3fn)}
        with pytest.raises(SourceError, match=r"3584 values of fc\.weight are infinite or NaN\."):
            load(broken)

    def test_what_overflows_float32(self, state: State, load: Loader) -> None:
        large = state["fc.weight"].double()
        large[0, 0] = 1e300

        with pytest.raises(SourceError, match=r"fc\.weight are infinite or NaN as float32"):
            load({**state, "fc.weight": large})
