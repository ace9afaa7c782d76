"""Own loops take the steps that snow-deploy's training takes, and Lightning's Trainer likewise."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import snow_deploy as snow
from snow_deploy.data.loading import make_loader
from snow_deploy.data.seeding import keyed_seed
from tests.deploy.own_loops.conftest import SMALL
from tests.deploy.own_loops.networks import SIZE

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = snow.TrainOptions(
    delta=SMALL,
    recipe=replace(snow.recipe_for("steady"), classifier_start="random"),
    epochs=2,
    batch_size=4,
    image_size=SIZE,
    precision="fp32",
    seed=3,
)
QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
}


def own_loop(source: snow.Source, splits: snow.Splits, options: snow.TrainOptions) -> snow.Delta:
    """Train by public names; order and noise are drawn as the command draws them."""
    lightning.seed_everything(options.seed, verbose=False)
    delta = snow.Delta(source, len(splits.labels), options.delta)
    loader = make_loader(
        splits.train,
        preprocessing=source.preprocessing,
        train=True,
        augmentation=splits.augmentation,
        smallest_crop=options.recipe.smallest_crop,
        batch_size=options.batch_size,
        seed=options.seed,
        workers=0,
    )
    course = snow.Course(delta, options, steps=len(loader))
    optimizer = course.optimizer()
    schedule = course.schedule(optimizer)
    criterion = nn.CrossEntropyLoss()
    sampler: Any = loader.sampler
    for epoch in range(options.epochs):
        sampler.set_epoch(epoch)
        torch.manual_seed(keyed_seed("noise", options.seed, epoch, 0))
        batches: Any = loader
        for batch in batches:
            images = batch.images.contiguous(memory_format=torch.channels_last)
            course.begin_step()
            loss, _ = delta.loss(images, source(images), batch.targets, criterion)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            course.after_backward()
            optimizer.step()
            schedule.step()
    return delta


@pytest.mark.parametrize("recipe", ["steady", "paper"])
def test_an_own_loop_ends_with_the_weights_of_the_command(
    recipe: str, own_source: snow.Source, splits: snow.Splits, store: snow.Store
) -> None:
    options = replace(
        OPTIONS, recipe=replace(snow.recipe_for(recipe), classifier_start="random", lr=0.5)
    )
    settings = snow.RunSettings(workers=0, baseline=False)
    outcome = snow.train(store, {"colour": splits}, options, source=own_source, settings=settings)
    (record,) = outcome.records
    delta = own_loop(own_source, splits, options)

    for key, value in delta.state_dict().items():
        torch.testing.assert_close(value, record.state[key], atol=1e-5, rtol=1e-4, msg=key)
    added = store.add("own", delta, splits=splits, split_seed=3)
    assert added.data_sha256 == record.data_sha256
    assert torch.equal(added.samples, record.samples)
    assert added.preprocessing == record.preprocessing
    assert store.tasks() == ("colour", "own")


def test_a_course_is_the_recipes(delta: snow.Delta) -> None:
    """Noise falls to nothing in the first quarter; norms forget at most as fast as at 256."""
    course = snow.Course(delta, replace(OPTIONS, epochs=4), steps=10)
    norm = next(layer for layer in delta.modules() if isinstance(layer, nn.BatchNorm2d))
    explored, momenta = [], []
    for _ in range(40):
        course.begin_step()
        explored += [{pooling.exploration for pooling in delta.poolings().values()}]
        momenta += [norm.momentum]

    assert explored == [{max(0.0, 1 - step / 10)} for step in range(40)]
    expected = [0.1 * min(1.0, max(4 / 256, 30 / (step + 1))) for step in range(40)]
    assert momenta == pytest.approx(expected)
    assert delta.local_loss == 1.0
    delta.explore(0.25)
    assert {pooling.exploration for pooling in delta.poolings().values()} == {0.25}


def test_parameter_groups_hold_each_weight_once(delta: snow.Delta) -> None:
    others, poolings = delta.parameter_groups(0.1, pooling_lr_scale=10)

    assert (others["lr"], poolings["lr"]) == (0.1, 1.0)
    assert {id(w) for w in poolings["params"]} == {id(p.weight) for p in delta.poolings().values()}
    held = [id(weight) for group in (others, poolings) for weight in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in delta.parameters())
    torch.optim.AdamW(delta.parameter_groups(1e-3))


def test_processes_that_share_a_step_explore_alike(own_source: snow.Source) -> None:
    images = torch.randn(2, 3, SIZE, SIZE)
    found = []
    for seed in range(2):
        torch.manual_seed(0)
        delta = snow.Delta(own_source, 3, replace(SMALL, sigma2=1.0))
        course = snow.Course(delta, OPTIONS, steps=10, world_size=2)
        course.begin_step()
        torch.manual_seed(seed)
        found.append(delta(images, own_source(images)))
    assert torch.equal(*found)


def test_a_course_without_steps_or_network_is_refused(
    own_source: snow.Source, delta: snow.Delta
) -> None:
    with pytest.raises(snow.TrainingError, match=r"len\(loader\)"):
        snow.Course(delta, OPTIONS, steps=0).begin_step()
    with pytest.raises(snow.TrainingError, match="a Source is no network of a task"):
        snow.Course(own_source, OPTIONS, steps=1)


def test_a_classifier_begins_as_a_regression_that_knows_the_pictures(
    own_source: snow.Source, delta: snow.Delta, loader: DataLoader[Any]
) -> None:
    snow.begin_linear(delta, own_source, loader)
    delta.eval()
    hits = [delta(images, own_source(images)).argmax(1) == targets for images, targets in loader]
    linear = delta.network.get_submodule("fc")

    assert torch.cat(hits).float().mean() > 0.6
    assert isinstance(linear, nn.Linear)
    assert not linear.weight[:, : linear.in_features - 32].any()
    with pytest.raises(snow.TrainingError, match="there are no pictures"):
        snow.begin_linear(delta, own_source, [])
    for targets, seen in (
        (torch.tensor([0, 3]), "from 0 to 3"),
        (torch.zeros(2, 4), r"of the shape \[2, 4\]"),
    ):
        with pytest.raises(snow.TrainingError, match=seen):
            snow.begin_linear(delta, own_source, [(torch.zeros(2, 3, SIZE, SIZE), targets)])


class Kept(lightning.Callback):
    """Keeps what was logged last."""

    def on_validation_end(self, trainer: lightning.Trainer, _module: Any) -> None:
        self.metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}


def test_a_trainer_takes_the_steps_of_an_own_loop(
    own_source: snow.Source, loader: DataLoader[Any]
) -> None:
    lightning.seed_everything(3, verbose=False)
    module = snow.SnowModule(own_source, snow.Delta(own_source, 3, SMALL), OPTIONS)
    torch.manual_seed(5)
    trainer = lightning.Trainer(
        max_epochs=2, num_sanity_val_steps=0, callbacks=[kept := Kept()], **QUIET
    )
    trainer.fit(module, loader, loader)

    lightning.seed_everything(3, verbose=False)
    delta = snow.Delta(own_source, 3, SMALL)
    course = snow.Course(delta, OPTIONS, steps=len(loader))
    optimizer = course.optimizer()
    schedule = course.schedule(optimizer)
    torch.manual_seed(5)
    for _ in range(2):
        for images, targets in loader:
            course.begin_step()
            loss, _ = delta.loss(images, own_source(images), targets, nn.CrossEntropyLoss())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            course.after_backward()
            optimizer.step()
            schedule.step()
    for key, value in module.deltas["task"].state_dict().items():
        torch.testing.assert_close(value, delta.state_dict()[key], atol=1e-5, rtol=1e-4, msg=key)
    assert set(kept.metrics) == {"loss", "val_loss", "val_accuracy"}
    delta.eval()
    hits = torch.cat([delta(im, own_source(im)).argmax(1) == ta for im, ta in loader])
    assert kept.metrics["val_accuracy"] == pytest.approx(float(hits.float().mean()))


def test_gradients_that_are_added_up_are_slowed_down_once(
    own_source: snow.Source, loader: DataLoader[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each step, or the first of two passes would count a twentieth of the second."""
    calls: list[int] = []
    module = snow.SnowModule(own_source, snow.Delta(own_source, 3, SMALL), OPTIONS)
    monkeypatch.setattr(snow.Course, "after_backward", lambda _: calls.append(module.global_step))
    trainer = lightning.Trainer(
        max_epochs=1, num_sanity_val_steps=0, accumulate_grad_batches=2, **QUIET
    )

    trainer.fit(module, loader, loader)

    assert len(loader) >= 3
    assert calls == list(range(-(-len(loader) // 2)))


def test_several_deltas_and_an_optimiser_of_ones_own(
    own_source: snow.Source, loader: DataLoader[Any], store: snow.Store, tmp_path: Path
) -> None:
    def batches(images: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        marks = torch.stack([targets == 0, targets > 0], 1).float()
        return images, {"colour": targets, "marks": marks}

    several = [batches(*batch) for batch in loader]
    given: Any = DataLoader(several, batch_size=None)  # type: ignore[arg-type]
    deltas = {"colour": snow.Delta(own_source, 3, SMALL), "marks": snow.Delta(own_source, 2, SMALL)}
    before = {
        name: delta.state_dict()["network.fc.weight"].clone() for name, delta in deltas.items()
    }
    module = snow.SnowModule(
        own_source,
        deltas,
        OPTIONS,
        optimizer=lambda groups: torch.optim.AdamW(groups, 1e-3),
        schedule=lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0),
        several={"marks"},
    )
    kept = Kept()
    trainer = lightning.Trainer(max_epochs=1, num_sanity_val_steps=0, callbacks=[kept], **QUIET)
    trainer.fit(module, given, given)

    assert isinstance(trainer.optimizers[0], torch.optim.AdamW)
    assert set(kept.metrics) >= {"colour/val_accuracy", "marks/val_loss", "marks/loss"}
    for name, delta in deltas.items():
        assert not torch.equal(before[name], delta.state_dict()["network.fc.weight"]), name
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=False)["state_dict"]
    assert saved
    assert all(key.startswith(("deltas.", "accuracies.")) for key in saved)
    module.load_state_dict(saved)
    store.add("marks", module.deltas["marks"], labels=["blue", "other"], answers="several")
    assert store.load_task("marks").answers == "several"
    with pytest.raises(snow.TrainingError, match="no targets of 'marks'"):
        module.training_step((several[0][0], {"colour": several[0][1]["colour"]}), 0)


def test_what_cannot_be_trained_together_is_refused(
    own_source: snow.Source, source: snow.Source, delta: snow.Delta
) -> None:
    with pytest.raises(snow.TrainingError, match="there is no delta"):
        snow.SnowModule(own_source, {})
    with pytest.raises(snow.TrainingError, match="built on the source"):
        snow.SnowModule(source, delta)
    again = copy.deepcopy(own_source)
    moved = snow.SnowModule(again, snow.Delta(again, 3, SMALL)).to("meta")
    assert {each.device.type for each in moved.source.parameters()} == {"meta"}
    with pytest.raises(snow.TrainingError, match="'a' is a Linear"):
        snow.SnowModule(own_source, {"a": nn.Linear(3, 3)})  # type: ignore[dict-item]
