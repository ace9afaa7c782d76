from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from snow_deploy.errors import TrainingError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.paper.columns import sigma2_notes, training_note
from snow_deploy.paper.study import parse_data
from snow_deploy.training.options import recipe_for
from snow_runtime.graph.task_name import check_task_name

if TYPE_CHECKING:
    from snow_deploy.paper.study import Study


def test_everything_that_decides_the_weights_decides_the_name(study: Study) -> None:
    def name(study: Study, seed: int = 0, data: str = "shape", k: int = 8) -> str:
        options = study.options("snow", seed, delta=DeltaOptions(k_divisor=k))
        return study.run(data, options).name

    names = [
        name(study),
        name(study, seed=1),
        name(study, data="digit"),
        name(study, k=4),
        name(replace(study, epochs=2)),
        name(replace(study, recipe="steady")),
        name(replace(study, data={"shape": "demo:shape"})),
    ]

    assert name(replace(study, workers=2, seeds=(3,))) == names[0]
    assert len(set(names)) == len(names)
    assert all(check_task_name(each) == each for each in names)


def test_the_recipe_is_the_schemes(study: Study) -> None:
    assert study.options("ft", 3).recipe == recipe_for("paper", "ft")
    assert study.options("snow", 3).recipe.lr == 10 * study.options("ft", 3).recipe.lr


def test_the_papers_recipe_has_each_scheme_at_its_printed_batch(study: Study) -> None:
    paper = replace(study, batch_size=None, schemes=("ft", "mp", "snow"))
    steady = replace(paper, recipe="steady")

    assert [(each.name, each.batch_size) for each in paper.contenders()] == [
        ("ft", 128),
        ("mp", 96),
        ("snow-256", 256),
        ("snow-128", 128),
    ]
    assert [(each.name, each.batch_size) for each in steady.contenders()] == [
        ("ft", 256),
        ("mp", 256),
        ("snow", 256),
    ]
    assert paper.options("mp", 0).learning_rate() == pytest.approx(0.0375)
    assert paper.options("snow", 0).batch_size == 256


def test_action_has_the_noise_that_is_printed_for_it(study: Study) -> None:
    """Section 3.1: 1e-8 for Action, 0.001 for the others; by the paper's recipe alone."""
    data = {"action": "stanford40:pictures", "shape": "demo:shape"}
    paper = replace(study, data=data, recipe="paper")

    def noise(study: Study, data: str | None) -> float:
        return study.options("snow", 0, data=data).delta.sigma2

    assert (noise(paper, "action"), noise(paper, "shape"), noise(paper, None)) == (1e-8, 1e-3, 1e-3)
    assert noise(replace(paper, recipe="steady"), "action") == 1e-3
    for scheme in ("fo", "fe", "lf"):  # or their runs would be other ones than before
        assert paper.options(scheme, 0, data="action").delta == DeltaOptions()
    assert noise(replace(paper, delta=DeltaOptions(sigma2=1e-4)), "action") == 1e-4
    assert sigma2_notes(paper) == []
    (note,) = sigma2_notes(replace(paper, recipe="steady"))
    assert "Action with sigma2 1e-08; here action has 0.001" in note


def test_runs_at_256_are_not_said_to_be_at_the_papers_batches(study: Study) -> None:
    paper = replace(study, batch_size=None, recipe="paper")

    assert "recipe paper, the paper's batches" in training_note(paper)
    assert "recipe steady, batch 256" in training_note(replace(paper, recipe="steady"))


def test_the_rate_falls_as_often_as_asked(study: Study) -> None:
    falling = replace(study, decay_epochs=4, epochs=12)

    recipe = falling.options("ft", 0).recipe

    assert [recipe.rate(step, 1, 12) for step in (3, 4, 8)] == pytest.approx([1, 0.1, 0.01])
    steady = replace(falling, recipe="steady").options("ft", 0).recipe
    assert steady == recipe_for("steady", "ft")


def test_a_chain_in_another_order(study: Study) -> None:
    first, second = study.chain(0, ["digit", "shape"])

    assert (first.data, second.data) == ("digit", "shape")
    assert second.options.after == first.name


def test_held_out_pictures_make_other_runs(study: Study) -> None:
    held = replace(study, held_out=1)
    options = study.options("fo", 0)

    names = {each.run("shape", options).name for each in (study, held, replace(held, held_out=2))}

    assert len(names) == 3


def test_a_chain_goes_from_each_data_set_to_the_next(study: Study) -> None:
    first, second = study.chain(seed=1)

    assert (first.data, second.data) == ("shape", "digit")
    assert first.options.after is None
    assert second.options.after == first.name
    assert {first.options.seed, second.options.seed} == {1}


def test_data_by_name() -> None:
    found = parse_data(("food=food101:data", "demo=demo:shape?train=4"))

    assert found == {"food": "food101:data", "demo": "demo:shape?train=4"}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (("food101:data",), "no name that fits"),
        (("Food=food101:data",), "no name that fits"),
        ((f"{'a' * 41}=demo:shape",), "no name that fits"),
        (("a=demo:shape", "a=demo:digit"), "'a' twice"),
    ],
)
def test_data_without_a_name_of_its_own_is_refused(pairs: tuple[str, ...], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        parse_data(pairs)
