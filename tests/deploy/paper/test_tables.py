"""Each table and figure over runs whose accuracies are known."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_deploy.errors import TrainingError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.schemes import build_network
from snow_deploy.paper.costs import Costing
from snow_deploy.paper.figure4 import make_figure4
from snow_deploy.paper.figure5 import make_figure5
from snow_deploy.paper.figure6 import make_figure6
from snow_deploy.paper.measure.steps import StepFigures
from snow_deploy.paper.settling import settled_at, share_final, share_tried
from snow_deploy.paper.table3 import make_table3
from snow_deploy.paper.table4 import make_table4
from snow_deploy.paper.table5 import make_table5
from snow_deploy.paper.table6 import make_table6
from snow_deploy.paper.table7 import make_table7
from snow_deploy.paper.table8 import make_table8
from snow_deploy.paper.table9 import make_table9
from tests.deploy.paper.conftest import SMALL, accuracy_of

if TYPE_CHECKING:
    from snow_deploy.models.source import Source
    from snow_deploy.paper.report import TableReport
    from snow_deploy.paper.study import Study
    from tests.deploy.paper.conftest import Trainer

COSTING = Costing(SMALL, 7, (6, 10))
STEPS = {"fo": 400.0, "ft": 50.0, "lf": 30.0, "snow": 120.0}


@pytest.fixture
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step of each contender take a known time and space."""

    def measure(setups: dict[str, Any], *_: Any) -> dict[str, StepFigures]:
        return {
            name: StepFigures(setup.options.batch_size, STEPS.get(name, 10.0), 1_000_000)
            for name, setup in setups.items()
        }

    for module in ("table5", "table6", "figure4"):
        monkeypatch.setattr(f"snow_deploy.paper.{module}.measure_steps", measure)


def row(report: TableReport, **wanted: object) -> dict[str, Any]:
    (found,) = (r for r in report.rows if all(r[key] == value for key, value in wanted.items()))
    return dict(found)


def test_table3_is_the_mean_and_spread_over_seeds(study: Study, trainer: Trainer) -> None:
    report, figure = make_table3(study)

    accuracies = [accuracy_of("digit", study.options("snow", seed)) for seed in (0, 1)]
    snow = row(report, scheme="snow")
    assert snow["digit_accuracy"] == pytest.approx(statistics.mean(accuracies))
    assert snow["digit_accuracy_spread"] == pytest.approx(statistics.stdev(accuracies))
    assert snow["mean"] == pytest.approx((snow["digit_accuracy"] + snow["shape_accuracy"]) / 2)
    assert row(report, scheme="lf")["shape_accuracy"] == 0.25  # after it has learned digits
    assert report.facts["accuracy_by_seed"]["snow"]["digit"] == accuracies
    assert len(trainer.names) == 3 * 2 * 2
    assert len(figure.axes[0].patches) == 6


@pytest.mark.usefixtures("trainer")
def test_one_seed_has_no_spread(study: Study) -> None:
    report, _ = make_table3(replace(study, seeds=(0,)))

    assert row(report, scheme="fo")["shape_accuracy_spread"] is None
    assert "±" not in report.cells()[0]


@pytest.mark.usefixtures("trainer")
def test_table4_has_every_pair(study: Study) -> None:
    report, _ = make_table4(study, (0.0, 0.5), (4, 8))

    assert len(report.rows) == 4
    options = [
        study.options("snow", seed, delta=DeltaOptions(k_divisor=4, sigma2=0.5))
        for seed in study.seeds
    ]
    expected = statistics.mean(accuracy_of("shape", each) for each in options)
    assert row(report, sigma2=0.5, k="N/4")["shape_accuracy"] == pytest.approx(expected)


@pytest.mark.usefixtures("_measured")
def test_table5_is_over_fine_tuning(study: Study, small_source: Source) -> None:
    report, figure = make_table5(replace(study, schemes=("ft", "lf", "snow")), COSTING)

    snow = row(report, scheme="snow")
    tasks = [build_network(small_source, n, study.options("snow", 0)) for n in (6, 10)]
    counted = small_source.count_parameters() + sum(task.count_parameters() for task in tasks)
    assert snow["parameters_millions"] == counted / 1e6
    assert snow["paper_parameters_millions"] is None  # other networks than the paper's
    assert (snow["speed_over_ft"], snow["paper_speed_over_ft"]) == (120 / 50, None)
    assert (snow["peak_megabytes"], snow["peak_over_ft"]) == (1.0, 1.0)
    assert row(report, scheme="lf")["parameters_millions"] == pytest.approx(
        (small_source.count_parameters() + (512 + 1) * 16) / 1e6
    )
    assert len(figure.axes) == 3


@pytest.mark.usefixtures("_measured")
def test_the_papers_ratios_stand_beside_the_papers_networks(study: Study) -> None:
    report, _ = make_table5(replace(study, schemes=("ft", "snow")), Costing())

    snow = row(report, scheme="snow")
    assert (snow["paper_speed_over_ft"], snow["paper_peak_over_ft"]) == (2.65, 0.32)
    assert report.facts["precision"] == "fp32"
    assert (report.facts["steps"], report.facts["rounds"]) == (10, 3)


@pytest.mark.usefixtures("trainer")
@pytest.mark.parametrize("name", ["mean", "k", "scheme", "after", "shape_accuracy", "paper"])
def test_no_name_of_a_data_set_is_another_column(study: Study, name: str) -> None:
    data = {"shape": study.data["shape"], name: study.data["digit"]}
    study = replace(study, data=data, schemes=("snow",))

    for report, _ in (make_table3(study), make_table4(study, (0.0,), (4,)), make_table9(study)):
        keys = [column.key for column in report.columns]
        assert len(set(keys)) == len(keys)
        assert all(0 < float(found["shape_accuracy"] or 0) < 1 for found in report.rows)
        labels = [found.get("scheme", found.get("k")) for found in report.rows]
        assert all(label in {"snow", "lf", "N/4"} for label in labels)


@pytest.mark.usefixtures("_measured")
def test_a_scheme_has_a_batch_of_its_own(study: Study) -> None:
    costing = replace(COSTING, batches={"ft": 4})

    report, _ = make_table5(replace(study, schemes=("ft", "snow")), costing)

    assert report.column("batch") == [4, 8]


def test_table5_may_only_count(study: Study) -> None:
    report, figure = make_table5(replace(study, schemes=("snow",)), replace(COSTING, speed=False))

    assert report.column("images_per_s") == [None]
    assert len(figure.axes) == 1


@pytest.mark.usefixtures("_measured", "trainer")
def test_table6_counts_the_deltas_together(study: Study, small_source: Source) -> None:
    report, _ = make_table6(study, COSTING)

    everything = row(report, subscription="all")
    options = study.options("snow", 0, delta=DeltaOptions(subscription="all"))
    counted = sum(build_network(small_source, n, options).count_parameters() for n in (6, 10))
    assert everything["parameters_millions"] == counted / 1e6
    assert everything["mean"] == pytest.approx(row(report, subscription="pooling")["mean"] + 0.03)


def test_table7_without_data_only_counts(study: Study) -> None:
    report, _ = make_table7(replace(study, data={}), COSTING, (8, 16), (4, 8))

    millions = [float(cell or 0) for cell in report.column("parameters_millions")]
    assert millions == sorted(millions, reverse=True)
    assert "mean" not in [column.key for column in report.columns]


def test_table7_with_data_trains_every_shape(study: Study, trainer: Trainer) -> None:
    report, _ = make_table7(study, COSTING, (8, 16), (4, 8))

    assert len(trainer.names) == 4 * 2 * 2
    assert row(report, width="1/16", k="N/4")["shape_accuracy"] == pytest.approx(
        statistics.mean(
            accuracy_of("shape", study.options("snow", seed, delta=DeltaOptions(4, 16)))
            for seed in study.seeds
        )
    )


def test_table8_is_over_separate_models(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(setups: dict[str, Any], batch: int, *_: Any) -> dict[str, float]:
        return {name: STEPS[name] * batch for name in setups}

    monkeypatch.setattr("snow_deploy.paper.table8.measure_serving", serve)

    report, _ = make_table8(replace(study, schemes=("ft", "snow")), COSTING, (1, 4))

    snow = row(report, scheme="snow", batch=4)
    assert (snow["images_per_s"], snow["over_ft"], snow["tasks"]) == (480, 2.4, 3)
    assert snow["paper_over_ft"] is None
    papers, _ = make_table8(replace(study, schemes=("ft", "snow")), Costing(), (1,))
    assert row(papers, scheme="snow")["paper_over_ft"] == 7.5


@pytest.mark.usefixtures("trainer")
def test_table9_says_what_is_forgotten(study: Study) -> None:
    report, _ = make_table9(study)

    learned = statistics.mean(accuracy_of("shape", study.options("lf", seed)) for seed in (0, 1))
    assert row(report, scheme="lf", after="shape")["shape_accuracy"] == pytest.approx(learned)
    assert row(report, scheme="lf", after="digit")["shape_accuracy"] == 0.25
    assert row(report, scheme="lf", after="digit")["forgotten"] == pytest.approx(learned - 0.25)
    assert row(report, scheme="snow", after="digit")["forgotten"] == 0
    lost = [accuracy_of("shape", study.options("lf", seed)) - 0.25 for seed in (0, 1)]
    spreads = [found["forgotten_spread"] for found in report.rows]
    assert spreads == [None, pytest.approx(statistics.stdev(lost)), None, None]
    assert [steps[1]["shape"] for steps in report.facts["lf_by_seed"]] == [0.25, 0.25]


@pytest.mark.usefixtures("_measured", "trainer")
def test_figure4_sets_accuracy_against_speed(study: Study) -> None:
    report, figure = make_figure4(replace(study, schemes=("ft", "snow"), seeds=(0,)), COSTING)

    snow = row(report, scheme="snow")
    expected = statistics.mean(accuracy_of(d, study.options("snow", 0)) for d in study.data)
    assert snow["accuracy"] == pytest.approx(expected)
    assert snow["speed_over_ft"] == 2.4
    (_, point) = (collection.get_offsets() for collection in figure.axes[0].collections)
    assert np.asarray(point).tolist() == [[120, pytest.approx(expected)]]


@pytest.mark.usefixtures("trainer")
def test_figure5_shows_every_variance(study: Study) -> None:
    report, figure = make_figure5(study, (0.0, 0.5))

    assert [(r["data"], r["sigma2"]) for r in report.rows] == [
        (data, sigma2) for data in study.data for sigma2 in (0.0, 0.5)
    ]
    assert len(figure.axes) == 2 * 3
    assert "one seed" in report.notes[0]
    assert report.facts["seeds"] == [0]
    with pytest.raises(TrainingError, match="no subscription 'nothing'"):
        make_figure5(study, (0.0,), "nothing")


@pytest.mark.usefixtures("trainer")
def test_figure6_counts_what_two_tasks_chose(study: Study) -> None:
    """One task ends at the first K channels, the other a channel further: K - 1 in common."""
    report, _ = make_figure6(study)

    for found in report.rows:
        kept = float(found["kept"] or 0)
        assert found["common_share"] == pytest.approx((kept - 1) / kept)
        assert found["chance_share"] == kept / float(found["channels"] or 1)


@pytest.mark.parametrize("make", [make_table9, make_figure6])
def test_some_need_two_data_sets(study: Study, make: Any) -> None:
    alone = replace(study, data={"shape": study.data["shape"]})

    with pytest.raises(TrainingError, match="--data twice"):
        make(alone)


def test_settling() -> None:
    history = {
        "epoch": np.array([0.0, 0.5, 1.0, 1.5]),
        "a": np.array([[0, 1], [1, 2], [2, 3], [2, 3]]),
        "b": np.array([[7, 9], [7, 9], [7, 9], [7, 9]]),
    }

    np.testing.assert_allclose(share_final(history), [0.5, 0.75, 1.0, 1.0])
    assert settled_at(history) == 1.0
    assert settled_at(history, 0.6) == 0.5
    assert share_tried(history, {"a": 10, "b": 10}) == pytest.approx((4 + 2) / 20)
