"""The options of `train` that say of what shape a delta is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.deploy.cli.test_sweep import asked, train

if TYPE_CHECKING:
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_requests import TaskRequest

__all__ = ["asked"]  # a fixture


def test_the_form_of_a_delta(trained_store: Store, asked: list[TaskRequest]) -> None:
    train(trained_store)
    train(trained_store, "--blocks", "2", "--from-stage", "3")
    train(trained_store, "--recipe", "steady", "--classifier-reads", "taps", "--features", "9")

    assert [(each.options.delta.blocks, each.options.delta.from_stage) for each in asked] == [
        (None, None),
        (2, 3),
        (None, None),
    ]
    assert [each.options.reads_taps for each in asked] == [False, False, True]
    assert asked[2].options.readout.features == 9


def test_forms_can_be_swept(trained_store: Store, asked: list[TaskRequest]) -> None:
    train(trained_store, "--sweep", "blocks=first,all", "--sweep", "from-stage=3,4")

    assert [
        (each.name, each.options.delta.blocks, each.options.delta.from_stage) for each in asked
    ] == [
        ("food-blocks_first-from-stage3", 1, 3),
        ("food-blocks_first-from-stage4", 1, 4),
        ("food-blocks_all-from-stage3", None, 3),
        ("food-blocks_all-from-stage4", None, 4),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--blocks", "none"], "'none' is not all, first or a number from 1 on"),
        (["--blocks", "0"], "'0' is not all, first or a number from 1 on"),
        (["--from-stage", "0"], "0 is not in the range x>=1"),
        (["--from-stage", "7"], "a resnet18 has no stage 7 that a delta could begin with"),
        (["--classifier-reads", "taps"], "expected steady with --classifier-reads taps"),
        (["--scheme", "fo", "--blocks", "first"], "--scheme fo does not read --blocks"),
        (["--scheme", "fe", "--from-stage", "3"], "--scheme fe does not read --from-stage"),
        (["--scheme", "readout", "--classifier-reads", "taps"], "does not read --classifier-reads"),
        (["--features", "9"], "--scheme snow --subscription pooling does not read --features"),
    ],
)
def test_what_makes_no_sense(trained_store: Store, arguments: list[str], message: str) -> None:
    result = train(trained_store, *arguments)

    assert result.exit_code != 0
    assert message in " ".join(result.stderr.replace("│", " ").split())
