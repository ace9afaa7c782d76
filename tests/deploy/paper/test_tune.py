"""The search for recipes: one protocol for all, without the test pictures, and resumable."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from snow_deploy.errors import TrainingError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.schemes import build_network
from snow_deploy.paper.search_grid import SETTINGS, SearchGrid, first_settings, has, recipe_from
from snow_deploy.paper.table7 import make_table7
from snow_deploy.paper.tune import FILE, choose_recipes
from snow_deploy.paper.tuned import merge_tuned, read_tuned
from snow_deploy.training.course import Course
from snow_deploy.training.options import TrainOptions, recipe_for
from snow_deploy.training.store import Store
from tests.deploy.paper.conftest import Trainer, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.models.source import Source
    from snow_deploy.paper.study import Study
    from snow_deploy.training.outcome import TrainingOutcome
    from snow_deploy.training.run import RunSettings
    from snow_deploy.training.task_requests import TaskRequest

GRID = SearchGrid((0.01, 0.1, 1.0), (0.003, 0.01, 0.03))
BEST = {"rate": 0.1, "classifier": 0.03, "start": "random", "crop": 0.25, "schedule": "step"}


class Judge(Trainer):
    """Stands in for training: knows how good a recipe is, and what pictures it was given."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.losses = True
        self.requests: list[TaskRequest] = []

    def __call__(
        self, store: Store, requests: Sequence[TaskRequest], settings: RunSettings
    ) -> TrainingOutcome:
        self.requests += [each for each in requests if each.name not in store.tasks()]
        return super().__call__(store, requests, settings)


def goodness(options: TrainOptions) -> float:
    """Score a recipe by how many of the best settings it has."""
    recipe = options.recipe
    settings = {
        "rate": recipe.lr,
        "classifier": round(recipe.classifier_features * recipe.lr / 512, 6) or recipe.lr,
        "start": recipe.classifier_start,
        "crop": recipe.smallest_crop,
        "schedule": recipe.schedule,
    }
    score = sum(settings[name] == value for name, value in BEST.items()) / 10
    return score + 0.05 * (recipe.local_loss == 0.0 and options.scheme == "snow")


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, small_source: Source) -> Judge:
    made = Judge(small_source)
    monkeypatch.setattr("snow_deploy.paper.runs.train_tasks", made)
    # nothing is built, so that the small source may count as one with a linear head
    monkeypatch.setattr("snow_deploy.paper.tune._fitting", lambda grid, _: grid)
    monkeypatch.setattr(
        "tests.deploy.paper.conftest.accuracy_of", lambda _, options: goodness(options)
    )
    return made


@pytest.fixture
def held(study: Study) -> Study:
    data = {"shape": "demo:shape?train=96&test=12&size=32"}
    return replace(study, data=data, seeds=(0,), schemes=("fo", "ft", "snow"), held_out=7)


@pytest.mark.usefixtures("judge")
def test_each_setting_is_chosen_with_what_was_chosen_before(held: Study) -> None:
    report, _ = choose_recipes(held, GRID)

    chosen = {str(row["scheme"]): row for row in report.rows}
    for scheme in ("ft", "snow"):
        assert {key: chosen[scheme][key] for key in BEST} == {k: str(v) for k, v in BEST.items()}
    assert chosen["snow"]["second-loss"] == "0.0"
    assert "rate" not in chosen["fo"]
    assert chosen["fo"]["classifier"] == "0.03"
    # three rates, two more of the classifier, one more each of start, crop and schedule
    assert [chosen[name]["trials"] for name in ("fo", "ft", "snow")] == [6, 8, 9]
    assert chosen["ft"]["edges"] == "classifier=0.03"


def test_no_test_picture_is_read_and_all_are_judged_on_the_same_part(
    held: Study, judge: Judge
) -> None:
    choose_recipes(held, GRID)

    test = replace(held, held_out=None).splits("shape").final[1]
    forbidden = {test.name(i) for i in range(len(test))}
    prints = set()
    for request in judge.requests:
        assert request.splits.test is None
        split, part = request.splits.final
        assert split == "val"
        assert not forbidden & {part.name(i) for i in range(len(part))}
        prints.add(request.splits.fingerprint)
    assert len(prints) == 1
    recipes = {each.options.scheme: set[Any]() for each in judge.requests}
    for each in judge.requests:
        if each.options.scheme != "fo":
            recipes[each.options.scheme].add(each.options.recipe.lr)
    assert recipes["ft"] == recipes["snow"] == set(GRID.rates)


def test_an_interrupted_search_goes_on_and_leaves_no_weights(held: Study, judge: Judge) -> None:
    judge.interrupted_at = 11
    with pytest.raises(KeyboardInterrupt):
        choose_recipes(held, GRID)
    begun = list(judge.names)
    judge.interrupted_at = None

    choose_recipes(held, GRID)

    assert len(set(judge.names)) == len(judge.names) == 6 + 8 + 9
    assert judge.names[: len(begun)] == begun
    assert Store(held.output / "trials").tasks() == ()
    judge.names.clear()
    choose_recipes(held, GRID)
    assert judge.names == []


def test_a_recipe_that_diverges_is_no_choice(held: Study, judge: Judge) -> None:
    held = replace(held, schemes=("ft",))
    best = {**first_settings("ft", GRID), "rate": 0.1}
    recipe = recipe_from(best, "ft", 512)
    trials = replace(held, store=Store(held.output / "trials"))
    trials.store.put_source(held.store.source_weights())
    judge.diverging = {trials.run("shape", replace(held.options("ft", 0), recipe=recipe)).name}

    report, _ = choose_recipes(held, GRID)

    assert report.rows[0]["rate"] != "0.1"
    assert '"loss": null' in json.dumps(report.facts, allow_nan=False)
    assert any("it counts as no picture right" in line for line in told(held))


def test_what_was_chosen_is_read_by_the_tables(held: Study, judge: Judge) -> None:
    choose_recipes(replace(held, schemes=("fo", "snow")), GRID)
    choose_recipes(replace(held, schemes=("ft",)), GRID)  # another day; the others stay
    tuned = read_tuned(held.output / FILE)
    judge.requests.clear()
    study = replace(held, held_out=None, tuned=tuned)

    report, _ = make_table7(study)

    assert set(tuned.choices) == {("shape", "fo"), ("shape", "ft"), ("shape", "snow")}
    assert [each.splits.test is not None for each in judge.requests] == [True] * 3
    for request in judge.requests:
        scheme = request.options.scheme
        assert request.options.recipe == tuned.choices["shape", scheme].recipe
    assert "recipes chosen for each scheme" in report.notes[0]
    lf = study.options("lf", 0, data="shape", after="before")
    assert lf.recipe == replace(tuned.recipe("shape", "ft"), classifier_start="random")
    with pytest.raises(TrainingError, match="no recipe of mp on shape"):
        study.options("mp", 0, data="shape")
    with pytest.raises(TrainingError, match="were chosen on the source"):
        tuned.check_source("0" * 64)


def test_what_was_chosen_apart_is_put_together(held: Study, judge: Judge) -> None:
    apart = [replace(held, schemes=(each,), output=held.output / each) for each in ("fo", "ft")]
    for study in apart:
        choose_recipes(study, GRID)
    files = {study.output / FILE: read_tuned(study.output / FILE) for study in apart}
    (fo, _), (ft, last) = files.items()

    both = merge_tuned(files)

    assert set(both.choices) == {("shape", "fo"), ("shape", "ft")}
    assert both.recipe("shape", "ft") == last.recipe("shape", "ft")
    assert merge_tuned({fo: files[fo], ft: files[fo]}) == files[fo]  # the same twice is no quarrel
    with pytest.raises(TrainingError, match="were chosen for other epochs"):
        merge_tuned({fo: files[fo], ft: replace(last, epochs=1 + last.epochs)})
    choice = replace(last.choices["shape", "ft"], trials=99)
    with pytest.raises(TrainingError, match="another recipe of ft on shape"):
        merge_tuned({fo: last, ft: replace(last, choices={("shape", "ft"): choice})})
    assert judge.requests


def test_a_form_of_the_delta_has_recipes_of_its_own(held: Study, judge: Judge) -> None:
    """Its runs are SNOW's alone: the others are the same runs beside every form."""
    held = replace(held, schemes=("ft", "snow"))
    choose_recipes(held, GRID)
    plain = read_tuned(held.output / FILE)
    judge.requests.clear()
    form = DeltaOptions(blocks=1, from_stage=4, classifier_reads="taps")

    choose_recipes(replace(held, delta=form), GRID)

    assert {each.options.scheme for each in judge.requests} == {"snow"}  # ft's trials are known
    assert {each.options.delta for each in judge.requests} == {form}
    tuned = read_tuned(held.output / FILE)
    assert (plain.delta, tuned.delta) == (DeltaOptions(), form)
    report, _ = make_table7(replace(held, held_out=None, tuned=tuned, delta=form))
    assert (
        "deltas are not the paper's: blocks 1, from-stage 4, classifier-reads taps"
        in report.notes[0]
    )
    choose_recipes(replace(held, schemes=("snow",)), GRID)  # of the paper's form: a file of its own
    last = read_tuned(held.output / FILE)
    assert set(last.choices) == {("shape", "snow")}
    # and nothing that was chosen is lost
    first, second = (read_tuned(held.output / f"tuned-{number}.json") for number in (1, 2))
    assert (first.delta, second.delta) == (DeltaOptions(), form)
    # what was chosen for the others stands beside any form
    ft = replace(first, choices={key: c for key, c in first.choices.items() if key[1] == "ft"})
    snow = replace(
        second, choices={key: c for key, c in second.choices.items() if key[1] == "snow"}
    )
    both = merge_tuned({held.output / "a": ft, held.output / "b": snow})
    assert (both.delta, set(both.choices)) == (form, {("shape", "ft"), ("shape", "snow")})
    with pytest.raises(TrainingError, match="source or form"):
        merge_tuned({held.output / "a": last, held.output / "b": snow})
    assert any("it is" in line and "tuned-2.json now" in line for line in told(held))


def test_every_scheme_has_the_same_values() -> None:
    grid = SearchGrid()
    assert {name for name in SETTINGS if has("ft", name)} == set(BEST)
    assert {name for name in SETTINGS if has("snow", name)} == {*BEST, "second-loss"}
    assert {name for name in SETTINGS if has("pn", name)} == {*BEST} - {"start"}
    assert {name for name in SETTINGS if has("fo", name)} == {*BEST} - {"rate"}
    for scheme in ("fe", "ft", "mp", "pn", "snow"):
        assert first_settings(scheme, grid)["rate"] == 0.1


@pytest.mark.parametrize("scheme", ["fo", "ft", "snow"])
@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_the_classifier_learns_at_its_own_rate(
    scheme: Any, rate: float, small_source: Source
) -> None:
    """As the source's features have it; on n local ones the rate is that times F / n."""
    features = small_source.anatomy.head_channels
    settings = {**first_settings(scheme, SearchGrid()), "classifier": 0.02}
    if scheme != "fo":
        settings["rate"] = rate
    recipe = recipe_from(settings, scheme, features)
    options = TrainOptions(recipe=recipe, scheme=scheme, image_size=32)
    network = build_network(small_source, 3, options)

    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    Course(network, options, steps=1).after_backward()

    found = [
        (float(gradient.flatten()[0]) * recipe.lr, count)
        for gradient, count in network.classifier_gradients()
    ]
    assert found
    for effective, count in found:
        assert effective == pytest.approx(0.02 * (1 if scheme == "fo" else features / count))


def test_what_a_recipe_does_not_say_is_the_schemes_own() -> None:
    snow = recipe_from(first_settings("snow", SearchGrid()), "snow", 2048)
    assert (snow.noise, snow.pooling_lr_scale, snow.local_loss) == ("settling", 10.0, 1.0)
    step = recipe_from({**first_settings("ft", SearchGrid()), "schedule": "step"}, "ft", 2048)
    assert (step.schedule, step.decay_epochs, step.warmup_epochs) == ("step", 0, 0.0)
    assert step.momentum == recipe_for("steady", "ft").momentum


@pytest.mark.parametrize("content", ["", "{}", '{"format": 1}', '{"format": 1, "choices": 3}'])
def test_a_file_of_something_else(study: Study, content: str) -> None:
    study.output.mkdir()
    path = study.output / "tuned.json"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(TrainingError, match="cannot be read as chosen recipes"):
        read_tuned(path)
