from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snow_deploy.data.loading import make_loader
from snow_deploy.data.pictures import Splits
from snow_deploy.data.seeding import keyed_seed
from snow_deploy.errors import DataError, TrainingError
from snow_deploy.models.delta import Delta
from snow_deploy.training.learner import Learner
from snow_deploy.training.module import TaskModule
from snow_deploy.training.options import Recipe
from snow_deploy.training.trainer import make_trainer, quiet_lightning
from snow_runtime.graph.manifest import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_deploy.models.source import Source
    from snow_deploy.training.options import TrainOptions
    from tests.conftest import OpenDemo
    from tests.deploy.training.conftest import Colours

Build = "Callable[..., TaskModule]"
PREPROCESSING = Preprocessing.for_size(64)
RECIPE = Recipe(
    lr=0.4,
    classifier_features=16,
    pooling_lr_scale=3.0,
    schedule="cosine",
    warmup_epochs=0.5,
    label_smoothing=0.2,
    momentum=0.8,
    weight_decay=0.01,
)


@dataclass
class Step:
    """What a callback saw before a training step."""

    rates: list[float]
    momentum: list[float]
    weight_decay: list[float]


class Watch(lightning.Callback):
    """Notes the optimiser's numbers before each step, and the training logits and targets."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.logits: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.logged: dict[str, float] = {}

    def on_train_start(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002
        pl_module: lightning.LightningModule,
    ) -> None:
        assert isinstance(pl_module, TaskModule)
        delta = delta_of(pl_module)

        def note(_delta: nn.Module, _inputs: Any, logits: Tensor) -> None:
            if pl_module.trainer.training:
                self.logits.append(logits.detach().clone())

        delta.register_forward_hook(note)

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002
        batch: Any,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        groups = trainer.optimizers[0].param_groups
        self.steps.append(
            Step(*([g[key] for g in groups] for key in ("lr", "momentum", "weight_decay")))
        )
        self.targets.append(batch.targets)

    def on_train_epoch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002
    ) -> None:
        self.logged = {key: value.item() for key, value in trainer.callback_metrics.items()}


@pytest.fixture
def build(source: Source, open_demo: OpenDemo, short: TrainOptions) -> Callable[..., TaskModule]:
    def make(splits: Splits | None = None, **options: Any) -> TaskModule:
        splits = splits or open_demo()
        chosen = replace(short, **options)
        torch.manual_seed(11)
        delta = Delta(source, len(splits.labels), chosen.delta)
        learner = Learner("shape", delta, splits, chosen)
        return TaskModule(source, [learner], PREPROCESSING, workers=0)

    return make


def delta_of(module: TaskModule) -> Delta:
    network = module.active[0].network
    assert isinstance(network, Delta)
    return network


def fit(module: TaskModule, *callbacks: lightning.Callback) -> lightning.Trainer:
    with quiet_lightning():
        trainer = make_trainer(module.options.epochs, callbacks)
        trainer.fit(module)
    return trainer


def naive_rate(step: int, steps: int) -> float:
    """RECIPE over two epochs: half an epoch of warm-up, then half a cosine wave."""
    warmup = 0.5 * steps / 2
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + float(np.cos(np.pi * (step - warmup) / (steps - warmup))))


def test_it_trains_as_a_plain_loop_does(
    build: Callable[..., TaskModule], source: Source, open_demo: OpenDemo
) -> None:
    """No Lightning, no schedule object: the same bits at the end."""
    trained = build(recipe=RECIPE)
    plain = build(recipe=RECIPE)
    fit(trained)

    options, delta = plain.options, delta_of(plain).train()
    loader: Any = make_loader(
        open_demo().train,
        preprocessing=PREPROCESSING,
        train=True,
        augmentation="none",
        batch_size=16,
        seed=options.seed,
        workers=0,
    )
    named = dict(delta.named_parameters())
    pooling = [name for name in named if re.search(r"pooling\..*\d\.weight$", name)]
    others = [name for name in named if name not in pooling]
    weight, bias = named["network.fc.weight"], named["network.fc.bias"]
    assert weight.shape[1] == 64 + 512  # local features, then the source's
    assert len(pooling) == len(delta.poolings())
    optimizer = torch.optim.SGD(
        [{"params": [named[name] for name in kind]} for kind in (others, pooling)],
        lr=1.0,
        momentum=0.8,
        weight_decay=0.01,
    )
    step = 0
    for epoch in range(2):
        torch.manual_seed(keyed_seed("noise", options.seed, epoch, 0))
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            rate = naive_rate(step, steps=6)
            for group, scale in zip(optimizer.param_groups, (1, 3), strict=True):
                group["lr"] = 0.4 * 16 / 256 * scale * rate
            images = batch.images.contiguous(memory_format=torch.channels_last)
            loss = nn.functional.cross_entropy(
                delta(images, source(images)), batch.targets, label_smoothing=0.2
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            assert weight.grad is not None
            assert bias.grad is not None
            weight.grad[:, :64] *= 16 / 64
            weight.grad[:, 64:] *= 16 / 512
            bias.grad *= 16 / 512
            optimizer.step()
            step += 1

    expected = delta.state_dict()
    for key, value in delta_of(trained).state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-6)


def test_the_statistics_follow_as_the_options_have_it(
    build: Callable[..., TaskModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snow_deploy.training.options._FOLLOWED_STEPS", 5)
    seen: list[set[float | None]] = []

    class Look(lightning.Callback):
        def on_train_batch_end(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any
        ) -> None:
            del trainer
            norms = [each for each in pl_module.modules() if isinstance(each, nn.BatchNorm2d)]
            assert len(norms) > 20
            seen.append({each.momentum for each in norms})

    module = build(epochs=3)  # three steps each
    fit(module, Look())

    assert seen[0] == seen[4] == {0.1}
    assert list(seen[8]) == pytest.approx([0.1 * 5 / 9])


def test_the_rates_are_the_recipes(build: Callable[..., TaskModule]) -> None:
    watch = Watch()
    fit(build(recipe=RECIPE), watch)

    assert len(watch.steps) == 6
    for number, step in enumerate(watch.steps):
        rate = 0.4 * 16 / 256 * naive_rate(number, steps=6)
        assert step.rates == pytest.approx([rate, 3 * rate])
        assert step.momentum == [0.8, 0.8]
        assert step.weight_decay == [0.01, 0.01]


def test_the_noise_settles_as_the_recipe_has_it(build: Callable[..., TaskModule]) -> None:
    module = build(recipe=replace(RECIPE, noise="settling"))
    seen: list[set[float]] = []

    class Look(lightning.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            seen.append({pooling.exploration for pooling in delta_of(module).poolings().values()})

    fit(module, Look())

    expected = [1, 1 / 3, 0, 0, 0, 0]
    assert [next(iter(values)) for values in seen] == pytest.approx(expected)
    assert {len(values) for values in seen} == {1}


def test_the_local_loss_is_the_recipes(build: Callable[..., TaskModule]) -> None:
    assert delta_of(build(recipe=replace(RECIPE, local_loss=0.5))).local_loss == 0.5


def test_the_optimiser_trains_the_delta_and_nothing_else(
    build: Callable[..., TaskModule],
) -> None:
    module = build()
    trainer = fit(module)

    others, poolings = (group["params"] for group in trainer.optimizers[0].param_groups)

    names = {id(parameter): name for name, parameter in delta_of(module).named_parameters()}
    assert {id(parameter) for parameter in (*others, *poolings)} == set(names)
    assert {names[id(weight)] for weight in poolings} == {
        f"network.pooling.{name}.weight" for name in delta_of(module).poolings()
    }


def test_every_parameter_is_trained(build: Callable[..., TaskModule]) -> None:
    module = build()
    before = {key: value.clone() for key, value in delta_of(module).state_dict().items()}

    fit(module)

    for key, value in delta_of(module).state_dict().items():
        assert value.isfinite().all(), key
        assert not torch.equal(value, before[key]), key


def test_the_source_is_bit_identical_after_training(
    build: Callable[..., TaskModule], source: Source
) -> None:
    images = torch.randn(2, 3, 64, 64)
    answers = {key: value.clone() for key, value in source(images).items()}
    state = {key: value.clone() for key, value in source.state_dict().items()}
    buffers = {key: value.clone() for key, value in source.named_buffers()}

    fit(build(recipe=Recipe(lr=2.0, weight_decay=0.1)))

    assert not any(layer.training for layer in source.modules())
    assert all(torch.equal(value, state[key]) for key, value in source.state_dict().items())
    assert all(torch.equal(value, buffers[key]) for key, value in source.named_buffers())
    assert all(parameter.grad is None for parameter in source.parameters())
    after = source(images)
    assert all(torch.equal(after[key], answers[key]) for key in answers)


def test_the_logged_figures_are_means_over_the_pictures(
    build: Callable[..., TaskModule],
) -> None:
    """Batches of 16, 16 and 16 of 48; of 20 each 20, 20 and the last, smaller one dropped."""
    watch = Watch()
    module = build(recipe=RECIPE, epochs=1)
    fit(module, watch)

    logits = torch.cat(watch.logits).double().numpy()
    targets = torch.cat(watch.targets).numpy()
    assert len(targets) == 48
    shares = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    smooth = np.eye(6)[targets] * 0.8 + 0.2 / 6
    assert watch.logged["loss_epoch"] == pytest.approx(-(shares * smooth).sum(1).mean(), rel=1e-5)
    assert watch.logged["accuracy"] == pytest.approx((logits.argmax(1) == targets).mean())


def test_the_evaluation_is_of_the_whole_split_in_eval_mode(
    build: Callable[..., TaskModule], source: Source, open_demo: OpenDemo
) -> None:
    watch = Watch()
    module = build()
    fit(module, watch)

    pictures = open_demo().evaluation[1]
    loader = make_loader(
        pictures,
        preprocessing=PREPROCESSING,
        train=False,
        augmentation="none",
        batch_size=7,
        seed=0,
        workers=0,
    )
    losses, right = [], []
    delta = delta_of(module).eval()
    for batch in loader:
        with torch.no_grad():
            logits = delta(batch.images, source(batch.images))
        losses += nn.functional.cross_entropy(logits, batch.targets, reduction="none").tolist()
        right += (logits.argmax(1) == batch.targets).tolist()
    assert len(losses) == 20
    assert module.active[0].split == "test"
    assert watch.logged["test_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert watch.logged["test_accuracy"] == pytest.approx(np.mean(right))


def test_a_loss_that_is_no_number_stops_the_run(build: Callable[..., TaskModule]) -> None:
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in epoch 1\. Lower --lr"):
        fit(build(recipe=Recipe(lr=1e30)))


def with_broken(colours: Colours, broken: set[int]) -> Splits:
    train = replace(colours, broken=frozenset(broken))
    return Splits(train=train, val=colours, test=None, augmentation="none")


def test_unreadable_pictures_are_named_once_and_left_out(
    build: Callable[..., TaskModule], colours: Colours
) -> None:
    module, watch = build(with_broken(colours, {3, 8}), batch_size=8), Watch()

    with pytest.warns(UserWarning, match="skipped a picture that cannot be read") as caught:
        fit(module, watch)

    named = sorted(str(w.message) for w in caught if "skipped" in str(w.message))
    assert named == [f"skipped a picture that cannot be read: colour {n}" for n in (3, 8)]
    assert module.skipped == {"colour 3", "colour 8"}
    # 23 pictures make two full batches of 8 an epoch; what cannot be read is missing from them.
    assert 28 <= sum(map(len, watch.targets)) <= 32


@pytest.mark.filterwarnings("ignore:skipped a picture")
def test_a_batch_of_one_picture_is_no_step(
    build: Callable[..., TaskModule], colours: Colours
) -> None:
    """BatchNorm cannot be trained on one picture."""
    module, watch = build(with_broken(colours, set(range(22))), batch_size=23), Watch()
    before = {key: value.clone() for key, value in delta_of(module).state_dict().items()}

    with pytest.raises(DataError, match="none of the 23 training pictures could be read"):
        fit(module, watch)

    assert [len(targets) for targets in watch.targets] == [1]
    assert all(
        torch.equal(value, before[key]) for key, value in delta_of(module).state_dict().items()
    )


@pytest.mark.filterwarnings("ignore:skipped a picture")
def test_no_training_picture_can_be_read(
    build: Callable[..., TaskModule], colours: Colours
) -> None:
    with pytest.raises(DataError, match=r"none of the 23 .*check the files, such as colour 0"):
        fit(build(with_broken(colours, set(range(23)))))


def test_a_checkpoint_holds_the_delta_and_not_the_source(
    build: Callable[..., TaskModule],
) -> None:
    module = build()
    module.skipped = {"b", "a"}
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}

    module.active[0].step = 5
    module.on_save_checkpoint(checkpoint)
    again = build()
    again.on_load_checkpoint(checkpoint)

    saved = {
        key.removeprefix("learners.0.network."): value
        for key, value in checkpoint["state_dict"].items()
    }
    assert saved.keys() == delta_of(module).state_dict().keys()
    assert again.skipped == module.skipped
    assert again.active[0].step == 5
