"""Small networks and stores that the tests of several packages share; torch only where asked."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import onnx
    from torch import nn

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.source import Source
    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.store import Store

# How long an example takes depends on what else the machine does. Every run draws others, so that
# half as many as by default find in two runs what those find in one.
settings.register_profile(
    "snow",
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("snow")

# Sums are added up in another order with another number of threads, and some tests compare bits.
os.environ["OMP_NUM_THREADS"] = "1"

# Tests import ONNX Runtime themselves, and send nothing anywhere either.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

LARGE = 12_000_000  # parameters; a ResNet-18 has fewer
IMAGE_SIZE = 64
DATA = "train=48&test=20&size=64"
SHORT = {"epochs": 2, "batch_size": 16}


class RandomNetwork(Protocol):
    def __call__(self, architecture: str, classes: int = 7, seed: int = 0) -> nn.Module: ...


class RandomWeights(Protocol):
    def __call__(self, architecture: str, classes: int = 7, seed: int = 0) -> SourceWeights: ...


def pytest_xdist_auto_num_workers() -> int:
    """Take a process more than there are cores: many tests wait for a server, a camera, a clock."""
    allowed = getattr(os, "sched_getaffinity", None)  # a container may have fewer than there are
    return (len(allowed(0)) if allowed else os.cpu_count() or 1) + 1


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of a size such as 256k, where this user may; else skip."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / "small"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            done = False
        if not done:
            pytest.skip("this user may not mount a file system")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Take the right to read a file, which root has whatever the file says."""
    refused: set[Path] = set()
    opens = io.open

    def refusing(file: Any, *others: Any, **options: Any) -> Any:
        if not isinstance(file, int) and Path(os.fsdecode(file)) in refused:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return opens(file, *others, **options)

    def take(path: Path) -> Path:
        path.chmod(0)
        refused.add(path)
        return path

    monkeypatch.setattr(io, "open", refusing)
    return take


@pytest.fixture(scope="session")
def random_network() -> RandomNetwork:
    """Build torchvision's own network, with random statistics in every BatchNorm, in eval mode."""
    import torch
    import torchvision

    ports = ("googlenet", "inception_v3")

    def draw(architecture: str, classes: int, seed: int) -> nn.Module:
        options = {"init_weights": True, "aux_logits": False} if architecture in ports else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = torchvision.models.get_model(architecture, num_classes=classes, **options)
            for layer in network.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):
                    for wide in (layer.running_var, layer.weight.data):
                        assert wide is not None
                        wide.uniform_(0.5, 1.5)
                    for around_zero in (layer.running_mean, layer.bias.data):
                        assert around_zero is not None
                        around_zero.normal_(0, 0.1)
        built: nn.Module = network.eval()
        return built

    small: dict[tuple[str, int, int], nn.Module] = {}  # drawing their weights takes longest

    def build(architecture: str, classes: int = 7, seed: int = 0) -> nn.Module:
        key = architecture, classes, seed
        if key in small:
            return deepcopy(small[key])
        network = draw(*key)
        if sum(parameter.numel() for parameter in network.parameters()) < LARGE:
            small[key] = deepcopy(network)
        return network

    return build


@pytest.fixture(scope="session")
def random_weights(random_network: RandomNetwork) -> RandomWeights:
    from snow_deploy.models.weights import SourceWeights, from_network

    def build(architecture: str, classes: int = 7, seed: int = 0) -> SourceWeights:
        network = random_network(architecture, classes, seed)
        return from_network(network, SourceWeights(architecture, {}, origin="a test"))

    return build


@pytest.fixture(scope="session")
def weights(random_weights: RandomWeights) -> SourceWeights:
    """Give the weights of a ResNet-18 of seven classes."""
    labels = ("ape", "bee", "cat", "dog", "elk", "fox", "gnu")
    return replace(random_weights("resnet18"), labels=labels)


@pytest.fixture(scope="session")
def source(weights: SourceWeights) -> Source:
    from snow_deploy.models.source import Source

    return Source(weights)


@pytest.fixture(scope="session")
def short() -> TrainOptions:
    """Give the options of a run of a few seconds."""
    from snow_deploy.models.options import DeltaOptions
    from snow_deploy.training.options import Recipe, TrainOptions

    recipe = Recipe(lr=0.2)
    options: dict[str, Any] = {"image_size": IMAGE_SIZE, "precision": "fp32", **SHORT}
    return TrainOptions(delta=DeltaOptions(k_divisor=8, width_divisor=8), recipe=recipe, **options)


class OpenDemo(Protocol):
    def __call__(self, question: str = "shape") -> Splits: ...


@pytest.fixture(scope="session")
def open_demo() -> OpenDemo:
    """Open a few rendered pictures."""
    from snow_deploy.data import open_data

    def opens(question: str = "shape") -> Splits:
        return open_data(f"demo:{question}?{DATA}")

    return opens


@pytest.fixture(scope="session")
def trained_store(
    tmp_path_factory: pytest.TempPathFactory,
    weights: SourceWeights,
    short: TrainOptions,
    open_demo: OpenDemo,
) -> Store:
    """Give a store with the tasks `shape` and `digit`; a test must not write to it."""
    from snow_deploy.training.run import RunSettings, train_task
    from snow_deploy.training.store import Store

    def train(folder: Path) -> None:
        store = Store(folder)
        store.put_source(weights)
        settings = RunSettings(workers=0, baseline=False)
        for task in ("shape", "digit"):
            train_task(store, task, open_demo(task), short, settings)

    return Store(made_once(tmp_path_factory, "trained-store", train))


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]
) -> Path:
    """Give a folder that one of pytest's processes fills for all; a test must not write to it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each has a folder in the run's
        root = root.parent
    folder, done = root / name, root / f"{name}.done"
    with FileLock(root / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that was interrupted
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def copy_store(store: Store, root: Path) -> Store:
    """Copy a store to change its tasks; its source, which is large, stays the same file."""
    from snow_deploy.training.store import Store

    root.mkdir()
    copy = Store(root)
    for part in store.root.iterdir():
        if part == store.source_path:
            os.link(part, copy.source_path)
        elif part.is_dir():
            shutil.copytree(part, root / part.name)
        else:
            shutil.copy(part, root)
    return copy


class MakeModel(Protocol):
    def __call__(
        self, *, size: int | str = 8, batch: int | str = "batch", metadata: str | None = None
    ) -> onnx.ModelProto: ...


@pytest.fixture
def make_model() -> MakeModel:
    """Make a source of one convolution, and `food` that reads two of its channels.

    image [B, 3, 8, 8] -> source/conv [B, 4, 4, 4] -> add -> source/relu
    -> gather (2 of 4) -> cat with food/conv (dense, [B, 2, 4, 4]) -> food/deep (two groups)
    -> flatten -> food/fc [B, 5]
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(np.ones(shape, np.float32), name)

    def make(
        *, size: int | str = 8, batch: int | str = "batch", metadata: str | None = None
    ) -> onnx.ModelProto:
        def node(op: str, name: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
            return helper.make_node(op, inputs, [name], name=name, **attributes)

        halved: dict[str, Any] = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
        nodes = [
            node("Conv", "source/conv", "image", "w1", "b1", **halved),
            node("Add", "add", "source/conv", "shift"),
            node("Relu", "source/relu", "add"),
            node("Gather", "gather", "source/relu", "index", axis=1),
            node("Conv", "food/conv", "image", "w2", **halved),
            node("Concat", "cat", "food/conv", "gather", axis=1),
            node("Conv", "food/deep", "cat", "w3", group=2),
            node("GlobalAveragePool", "pool", "food/deep"),
            node("Flatten", "flatten", "pool"),
            helper.make_node("Gemm", ["flatten", "w4"], ["food"], name="food/fc", transB=1),
        ]
        constants = [
            weight("w1", 4, 3, 3, 3),
            weight("b1", 4),
            weight("shift", 1, 4, 1, 1),
            numpy_helper.from_array(np.array([1, 3], np.int64), "index"),
            weight("w2", 2, 3, 3, 3),
            weight("w3", 6, 2, 1, 1),
            weight("w4", 5, 6),
        ]
        picture = [batch, 3, size, size]
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, picture)],
            [helper.make_tensor_value_info("food", TensorProto.FLOAT, [batch, 5])],
            constants,
        )
        opset = helper.make_opsetid("", 17)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        if metadata is not None:
            helper.set_model_props(model, {"snow_deploy.manifest": metadata})
        return model

    return make
