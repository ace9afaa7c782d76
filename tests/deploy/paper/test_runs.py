from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_deploy.errors import DamagedCheckpointError, ResumeError, TrainingError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.paper.runs import read_selections, train_runs
from tests.deploy.paper.conftest import DATA, accuracy_of, told

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.network import Scheme
    from snow_deploy.paper.study import Run, Study
    from tests.deploy.paper.conftest import Trainer


def interrupt(study: Study, run: Run) -> Path:
    """Leave behind what a run that was interrupted does; return its checkpoint."""
    checkpoint = study.store.run_path(run.name) / "checkpoint.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    return checkpoint


def three(study: Study) -> list[Run]:
    return [study.run("shape", study.options("snow", seed)) for seed in (0, 1, 2)]


def test_runs_are_trained_once_and_skipped_afterwards(study: Study, trainer: Trainer) -> None:
    runs = three(study)

    found = train_runs(study, [*runs, runs[0]])
    again = train_runs(study, runs)

    assert trainer.names == [run.name for run in runs]
    assert again == found
    assert [found[run.name]["accuracy"] for run in runs] == [
        accuracy_of("shape", run.options) for run in runs
    ]
    assert [line for line in told(study) if "done before" in line] == told(study)[-3:]


def test_an_interrupted_study_goes_on_with_the_run_it_was_at(
    study: Study, trainer: Trainer
) -> None:
    runs = three(study)
    trainer.interrupted_at = 1
    with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
        train_runs(study, runs)
    interrupt(study, runs[1])
    trainer.interrupted_at = None
    trainer.settings.clear()

    train_runs(study, runs)

    assert trainer.names == [run.name for run in runs]
    assert [settings.resume for settings in trainer.settings] == [True, False]


@pytest.mark.usefixtures("trainer")
def test_a_data_set_that_changed_is_refused(study: Study) -> None:
    run = three(study)[0]
    train_runs(study, [run])
    changed = replace(study, data={"shape": DATA["digit"]})

    with pytest.raises(TrainingError, match=r"labels \(10 of them\) that are not those"):
        train_runs(changed, [run])
    others = replace(study, data={"shape": DATA["shape"] + "&seed=1"})
    with pytest.raises(TrainingError, match="has pictures, or classes or splits of theirs"):
        train_runs(others, [run])


@pytest.mark.usefixtures("trainer")
def test_missing_selections_say_how_to_get_them(study: Study) -> None:
    run = three(study)[0]
    train_runs(study, [run])
    history = read_selections(study.store, run.name)
    (study.store.run_path(run.name) / "selections.npz").unlink()

    assert history["epoch"].tolist() == [0.0, 1.0]
    assert all(np.diff(chosen, axis=1).min(initial=1) > 0 for chosen in list(history.values())[1:])
    with pytest.raises(TrainingError, match="train the run anew"):
        read_selections(study.store, run.name)


def test_where_a_run_is_given_up_the_others_are_trained(study: Study, trainer: Trainer) -> None:
    """And what goes on from it is not tried."""
    chain = study.chain(0)
    runs = [*chain, *three(study)]
    trainer.diverging = {chain[0].name, runs[3].name}

    with pytest.raises(TrainingError) as told_at_the_end:
        train_runs(study, runs)

    message = str(told_at_the_end.value)
    assert "3 of 5 runs were given up (shape lf seed 0: the loss became nan; digit lf" in message
    assert "seed 0: the run that it goes on from was given up; shape snow" in message
    assert set(study.store.tasks()) == {runs[2].name, runs[4].name}
    assert chain[1].name not in trainer.names
    trainer.diverging.clear()
    assert train_runs(study, runs).keys() == {run.name for run in runs}


def test_deltas_of_one_data_set_and_seed_share_a_pass_of_the_source(
    study: Study, trainer: Trainer
) -> None:
    def runs(scheme: Scheme) -> list[Run]:
        return [
            study.run(data, study.options(scheme, seed, delta=DeltaOptions(k_divisor=k)))
            for k in (4, 8)
            for data in study.data
            for seed in (0, 1)
        ]

    train_runs(study, runs("snow"))
    shared = [len(group) for group in trainer.groups]
    trainer.groups.clear()
    train_runs(study, runs("ft")[:4])

    assert shared == [2, 2, 2, 2]
    assert [len(group) for group in trainer.groups] == [1, 1, 1, 1]


def test_schemes_on_the_source_share_its_pass(study: Study, trainer: Trainer) -> None:
    schemes: tuple[Scheme, ...] = ("fo", "fe", "ft", "mp", "pn", "snow")
    runs = {scheme: study.run("shape", study.options(scheme, 0)) for scheme in schemes}

    train_runs(study, list(runs.values()))

    assert trainer.groups == [
        [runs["fo"].name, runs["fe"].name, runs["snow"].name],
        [runs["ft"].name],
        [runs["mp"].name],
        [runs["pn"].name],
    ]


def test_a_run_that_another_table_was_interrupted_in_is_finished_first(
    study: Study, trainer: Trainer
) -> None:
    runs = [
        study.run("shape", study.options("snow", 0, delta=DeltaOptions(k_divisor=k)))
        for k in (4, 8)
    ]
    interrupt(study, runs[1])

    train_runs(study, runs)

    assert trainer.groups == [[runs[1].name], [run.name for run in runs]]
    assert [settings.resume for settings in trainer.settings] == [True, False]


def test_what_was_given_up_alone_is_not_tried_again_in_its_group(
    study: Study, trainer: Trainer
) -> None:
    runs = [
        study.run("shape", study.options("snow", 0, delta=DeltaOptions(k_divisor=k)))
        for k in (4, 8)
    ]
    interrupt(study, runs[1])
    trainer.diverging = {runs[1].name}

    with pytest.raises(TrainingError, match="1 of 2 runs were given up"):
        train_runs(study, runs)

    assert trainer.groups == [[runs[1].name], [runs[0].name]]


def test_where_a_checkpoint_is_damaged_the_run_begins_anew(study: Study, trainer: Trainer) -> None:
    run = three(study)[0]
    interrupt(study, run)
    trainer.cannot_resume = DamagedCheckpointError("the checkpoint is damaged")

    train_runs(study, [run])

    assert [settings.resume for settings in trainer.settings] == [True, False]
    assert any("begins anew: the checkpoint" in line for line in told(study))
    assert study.store.tasks() == (run.name,)


def test_a_good_checkpoint_is_not_thrown_away(study: Study, trainer: Trainer) -> None:
    """A folder of photos that is not there today is there tomorrow."""
    run = three(study)[0]
    checkpoint = interrupt(study, run)
    trainer.cannot_resume = ResumeError("the data has other pictures than the interrupted run.")

    with pytest.raises(TrainingError, match=r"other pictures .*remove .*checkpoint\.ckpt to begin"):
        train_runs(study, [run])

    assert checkpoint.exists()


def test_a_run_that_diverges_for_real_stops_no_other(study: Study) -> None:
    """It is alone in its group, and training it comes to nothing: an error of the trainer's."""
    hopeless = study.options("fo", 0)
    hopeless = replace(hopeless, recipe=replace(hopeless.recipe, lr=1e30))
    study = replace(study, data={"shape": DATA["shape"], "digit": DATA["digit"]})
    lost, kept = study.run("shape", hopeless), study.run("digit", study.options("fo", 0))

    for _ in range(2):  # the second time over what the first one left
        with pytest.raises(TrainingError, match=r"1 of 2 runs were given up .*no finite numbers"):
            train_runs(study, [lost, kept])

    assert study.store.tasks() == (kept.name,)


def test_changed_data_is_told_before_anything_is_trained(study: Study, trainer: Trainer) -> None:
    """And in the words of this command, which has no --overwrite."""
    fo, fe = (study.run("shape", study.options(scheme, 0)) for scheme in ("fo", "fe"))
    train_runs(study, [fo])
    changed = replace(study, data={"shape": DATA["shape"] + "&seed=1"})

    with pytest.raises(TrainingError, match="Give the changed data another name, or choose"):
        train_runs(changed, [fo, fe])

    assert trainer.names == [fo.name]
