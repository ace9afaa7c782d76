"""A delta of a loop of one's own in a store: taken as it answers, or refused with a reason."""

from __future__ import annotations

import copy
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn
from torch.optim.swa_utils import AveragedModel

import snow_deploy as snow
from snow_deploy.cli import main
from tests.deploy.own_loops.networks import CLASSES, MEAN, SIZE, STD, own_network

if TYPE_CHECKING:
    from pathlib import Path


def trained(delta: snow.Delta) -> snow.Delta:
    """Give a delta weights and statistics that no fresh one has, in training mode."""
    torch.manual_seed(1)
    with torch.no_grad():
        for value in delta.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
    return delta.train()


def photo(seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (50, 40, 3), dtype=np.uint8)


def test_everything_works_afterwards(
    own_source: snow.Source, delta: snow.Delta, splits: snow.Splits, tmp_path: Path
) -> None:
    store, path = snow.Store(tmp_path / "store"), tmp_path / "snow.onnx"
    trained(delta)
    plain = snow.make_transform(own_source.preprocessing, train=False, augmentation="none")
    _, held_out = splits.final
    images = torch.stack([plain(held_out.load(place)) for place in range(len(held_out))])
    with torch.no_grad():
        expected = copy.deepcopy(delta).eval()(images, own_source(images))
    truth = torch.tensor([held_out.target(place) for place in range(len(held_out))])
    accuracy = float((expected.argmax(1) == truth).float().mean())
    added = store.add("colour", delta, splits=splits, metrics={"accuracy": accuracy})

    assert delta.training
    assert (added.labels, added.metrics, added.data_sha256) == (
        CLASSES,
        {"accuracy": accuracy},
        splits.fingerprint,
    )
    assert store.source_weights().fingerprint() == own_source.fingerprint
    (parity,) = snow.export(store, ["colour"], path)
    assert parity.task == "colour"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["colour"], {"image": images.numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-4)

    data = f"imagefolder:{splits.train.name(0).rsplit('/', 3)[0]}"
    for line in (
        ["verify", "--store", str(store.root), str(path), "--batch-sizes", "1"],
        ["predict", str(path), splits.train.name(0)],
        [
            "calibrate",
            str(path),
            "--data",
            data,
            "--samples",
            "16",
            "--max-drop",
            "300",
            "--accept-undecided",
            "-o",
            str(tmp_path / "int8.onnx"),
        ],
    ):
        result = CliRunner().invoke(main, line)
        assert result.exit_code == 0, result.output
    shown = CliRunner().invoke(main, ["inspect", str(store.root)]).output
    assert "trained  by own loop" in shown
    assert "epochs" not in shown
    (facts,) = snow.inspect_store(store.root).training.values()
    assert set(facts.options) == {"trained_by", "scheme", "delta", "image_size"}
    assert facts.options["trained_by"] == "own loop"


def test_pictures_may_be_paths_images_or_arrays(
    delta: snow.Delta, store: snow.Store, tmp_path: Path
) -> None:
    from torchvision.transforms import v2

    path = tmp_path / "a.png"
    Image.fromarray(photo()).save(path)
    pictures: list[Any] = [path, str(path), Image.fromarray(photo()), photo()]
    record = store.add("a", delta, labels=CLASSES, pictures=pictures, trained_by="AdamW, 3 epochs")
    cut = v2.Compose([v2.Resize(37, antialias=True), v2.CenterCrop(SIZE)])
    expected = np.asarray(cut(Image.fromarray(photo()))).astype(int)

    assert record.samples.shape == (4, SIZE, SIZE, 3)
    for sample in record.samples.numpy():
        assert abs(sample.astype(int) - expected).max() <= 1
    assert store.load_task("a").trained_by == "AdamW, 3 epochs"
    many = store.add("b", delta, labels=CLASSES, pictures=[photo(n) for n in range(12)])
    assert len(many.samples) == 5
    assert len(store.add("c", delta, labels=CLASSES).samples) == 4  # drawn


def test_wrappers_and_precisions_are_taken(delta: snow.Delta, store: snow.Store) -> None:
    trained(delta)
    plain = store.add("plain", delta, labels=CLASSES)
    wrapped: dict[str, nn.Module] = {
        "compiled": torch.compile(delta, backend="eager"),  # type: ignore[dict-item]
        "averaged": AveragedModel(delta),
        "parallel": nn.DataParallel(delta, device_ids=[]),
        "frozen": copy.deepcopy(delta).requires_grad_(requires_grad=False),
        "double": copy.deepcopy(delta).double(),
        "twice": AveragedModel(torch.compile(delta, backend="eager")),  # type: ignore[arg-type]
    }
    for name, network in wrapped.items():
        assert store.add(name, network, labels=CLASSES).fingerprint() == plain.fingerprint(), name
    half = copy.deepcopy(delta).bfloat16()
    record = store.add("half", half, labels=CLASSES)
    for key, value in record.state.items():
        assert value.dtype in {torch.float32, torch.int64}
        assert torch.equal(value, half.state_dict()[key].to(value.dtype))
    assert next(half.parameters()).dtype == torch.bfloat16


def test_a_delta_trains_under_ddp_and_is_taken_out_of_it(
    own_source: snow.Source, delta: snow.Delta, store: snow.Store, tmp_path: Path
) -> None:
    place = f"file://{tmp_path / 'meeting'}"
    torch.distributed.init_process_group("gloo", init_method=place, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(delta)
        images = torch.randn(4, 3, SIZE, SIZE)
        with torch.autocast("cpu", torch.bfloat16):
            logits = wrapped(images, own_source(images))
        loss = nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 0]))
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(weight.grad is not None for weight in delta.parameters())
        added = store.add("a", wrapped, labels=CLASSES)
    finally:
        torch.distributed.destroy_process_group()
    assert added.fingerprint() == store.add("b", delta, labels=CLASSES).fingerprint()


def test_a_delta_whose_classifier_reads_taps(store: snow.Store) -> None:
    source = snow.Source.of(own_network(), image_size=SIZE, mean=MEAN, std=STD)
    delta = trained(snow.Delta(source, 3, snow.DeltaOptions(classifier_reads="taps")))
    store.add("a", delta, labels=CLASSES)

    (parity,) = snow.export(store, ["a"], store.root / "a.onnx")
    assert parity.max_error < 1e-4 * max(1.0, parity.scale)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_delta_on_a_gpu(store: snow.Store) -> None:
    source = snow.Source.of(own_network(), image_size=SIZE, mean=MEAN, std=STD).to("cuda")
    delta = trained(snow.Delta(source, 3).to("cuda"))
    record = store.add("a", delta, labels=CLASSES)

    assert all(value.device.type == "cpu" for value in record.state.values())
    assert next(delta.parameters()).device.type == "cuda"


def test_another_source_is_refused(delta: snow.Delta, store: snow.Store) -> None:
    other = snow.Source.of(own_network(seed=1), image_size=SIZE, mean=MEAN, std=STD)
    with pytest.raises(snow.StoreError, match="but the delta was built on"):
        store.add("a", delta, labels=CLASSES, source=other)
    store.add("a", snow.Delta(other, 3), labels=CLASSES)
    with pytest.raises(snow.StoreError, match="One store serves one source"):
        store.add("b", delta, labels=CLASSES)
    assert store.tasks() == ("a",)


def test_a_delta_from_another_process_needs_its_source(
    own_source: snow.Source, delta: snow.Delta, store: snow.Store
) -> None:
    sent = pickle.loads(pickle.dumps(delta))  # noqa: S301
    with pytest.raises(snow.StoreError, match="does not know its source any more"):
        store.add("a", sent, labels=CLASSES)
    store.add("a", sent, labels=CLASSES, source=own_source)
    assert store.load_task("a").fingerprint() == store.add("b", delta, labels=CLASSES).fingerprint()


def test_a_task_is_replaced_only_when_asked(delta: snow.Delta, store: snow.Store) -> None:
    store.add("a", delta, labels=CLASSES)
    with pytest.raises(snow.StoreError, match="has a task 'a' already"):
        store.add("a", delta, labels=CLASSES)
    store.add("a", trained(delta), labels=("x", "y", "z"), overwrite=True)
    assert store.load_task("a").labels == ("x", "y", "z")


def broken(delta: snow.Delta, value: float) -> snow.Delta:
    with torch.no_grad():
        delta.network.get_parameter("fc.bias")[0] = value
    return delta


class Changed(snow.Delta):
    def forward(self, images: Any, features: Any) -> Any:
        return 2 * super().forward(images, features)


def test_what_cannot_be_a_task_is_refused_and_nothing_is_written(
    own_source: snow.Source, splits: snow.Splits, store: snow.Store, tmp_path: Path
) -> None:
    def fresh() -> snow.Delta:
        return snow.Delta(own_source, 3)

    pruned = fresh()
    prune: Any = nn.utils.prune
    prune.l1_unstructured(pruned.network.get_submodule("fc"), "weight", 0.5)
    module = snow.SnowModule(own_source, fresh())
    network: Any
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (nn.Linear(3, 3), {}, "a Linear is no network of a task, expected a Delta"),
        (own_source, {}, "a Source is no network"),
        (module, {}, "give its part 'deltas.task'"),
        ("delta", {}, "a str is no network"),
        (broken(fresh(), math.nan), {}, "1 of the .* values of .* infinite or NaN"),
        (broken(fresh(), math.inf), {}, "infinite or NaN"),
        (fresh().to("meta"), {}, "lies on the meta device"),
        (pruned, {}, "changed after it was built"),
        (Changed(own_source, 3), {}, "answers otherwise than one of its options"),
        (fresh(), {"labels": None}, "needs its 3 labels"),
        (fresh(), {"labels": ["a", "b"]}, "2 labels were given; .* 3 logits"),
        (fresh(), {"labels": ["a", "b", " "]}, "1 of them empty"),
        (fresh(), {"labels": "abc"}, "labels is the text 'abc'"),
        (fresh(), {"labels": ["a", "b", "c"], "splits": splits}, "not those of the splits"),
        (fresh(), {"pictures": []}, "pictures is empty"),
        (fresh(), {"metrics": {"accuracy": math.nan}}, "the metric 'accuracy' is nan"),
        (fresh(), {"metrics": {"accuracy": "good"}}, "the metric 'accuracy' is 'good'"),
        (fresh(), {"answers": "many"}, "answers"),
    ]
    for network, given, message in cases:
        with pytest.raises(snow.TrainingError, match=message):
            store.add("a", network, **{"labels": CLASSES, **given})
    from snow_runtime import InputError

    for pictures in ([tmp_path / "none.png"], [np.zeros((4, 4))], [3]):
        with pytest.raises(InputError):
            store.add("a", fresh(), labels=CLASSES, pictures=pictures)  # type: ignore[arg-type]
    assert not store.root.exists()
