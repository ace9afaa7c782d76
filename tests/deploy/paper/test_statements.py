"""The statements of sections 3.1 to 3.4, against the paper's own tables and against stored ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from snow_deploy.paper.statement_list import STATEMENTS
from snow_deploy.paper.statements import make_statements

if TYPE_CHECKING:
    from pathlib import Path


def store(folder: Path, name: str, rows: list[dict[str, Any]], **facts: Any) -> None:
    folder.mkdir(exist_ok=True)
    document = {"name": name, "rows": rows, "facts": facts}
    (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


def ours(folder: Path) -> dict[str, tuple[Any, Any, str]]:
    report, _ = make_statements(folder)
    return {str(r["statement"]): (r["ours"], r["agrees"], str(r["why"])) for r in report.rows}


def find(found: dict[str, tuple[Any, Any, str]], beginning: str) -> tuple[Any, Any, str]:
    (match,) = (value for text, value in found.items() if text.startswith(beginning))
    return match


def test_the_papers_own_tables_contradict_six_of_its_statements() -> None:
    """Table 8 has MP faster than FT, Table 7 others below FO, Table 5 MP smaller than SNOW, ..."""
    wrong = [each.text for each in STATEMENTS if each.agrees(each.papers) == "no"]

    beginnings = [
        "MP is slower than FT",
        "SNOW has less overhead than FT, MP and PN",
        "FO has the worst accuracy",
        "it has the overall best performance",
        "it is worse than channel pooling in all aspects",
        "it is slightly more accurate than all channels",
    ]
    assert len(wrong) == len(beginnings)
    assert all(a.startswith(b) for a, b in zip(wrong, beginnings, strict=True))


@pytest.mark.parametrize(
    ("beginning", "value"),
    [
        ("SNOW-256's training throughput over PN's", 965.31 / 185.01),
        ("FO loses", 83.79 - 51.96),
        ("FE loses", 83.79 - 74.05),
        ("FO has the worst accuracy", 2),
        ("SNOW's throughput of serving over FT's", 4731.0 / 632.9),
        ("channel pooling is the most accurate", 3 / 5),
        ("1x1 convolution's", 6.72),
        ("channel pooling's serving", 4731.0 / 1101.8),
        ("a delta of M/8", 83.79 - 80.36),
        ("2x to 5x higher", 965.31 / 388.66),
        ("PN is the slowest", 185.01 / 358.74),
        ("FO and FE show higher", 1085.67 / 965.31),
        ("only marginally", 1209.26 / 965.31),
        ("SNOW-256 is comparable", 78.902 - 80.654),
        ("SNOW has less overhead", 30.8 / 26.9),
        ("and in inference throughput", 4731.0 / 632.9),
        ("yet shows better accuracy than FE", 0),
        ("MP does not have much", 26.9 / 26.8),
        ("SNOW marginally increases", 30.8 / 26.8),
        ("it is comparable on Action", 79.50 - 78.48),
        ("FO is the smallest", 26.8 / 26.9),
        ("PN has the most", 257.4 / 144.3),
        ("FT has the second most", 144.3 / 30.8),
        ("MP suffers", 304.3 / 632.9),
        ("PN has poor", 169.5 / 304.3),
        ("channel pooling has the minimum", 5.5 / 14.0),
        ("it has the overall best", 78.902 - 79.212),
        ("it is worse", 1),
        ("it is slightly", 1),
    ],
)
def test_what_its_tables_give(beginning: str, value: float) -> None:
    (statement,) = (each for each in STATEMENTS if each.text.startswith(beginning))

    assert statement.papers == pytest.approx(value)


def test_without_tables_nothing_is_ours(tmp_path: Path) -> None:
    found = ours(tmp_path)

    assert {value[:2] for value in found.values()} == {(None, None)}
    assert "run `snow-deploy paper table8`" in find(found, "MP is slower")[2]


def test_ours_come_from_the_stored_tables(tmp_path: Path) -> None:
    speeds = {"ft": 20.0, "mp": 32.0, "pn": 11.0, "snow-256": 52.0, "snow-128": 50.0}
    speeds |= {"fo": 74.0, "fe": 65.0}
    own = [
        {"batches": "own", "scheme": k, "images_per_s": v, "batch": 256} for k, v in speeds.items()
    ]
    snow = {"batches": "equal", "scheme": "snow", "peak_over_ft": 0.34, "images_per_s": 51.0}
    equal = [{**snow, "batch": 128}]
    store(tmp_path, "table8", own + equal, image_size=128, device="a CPU")
    accuracies = {"fo": (0.83, 0.85), "fe": (0.85, 0.91), "ft": (0.86, 0.92)}
    accuracies |= {"mp": (0.88, 0.9), "pn": (0.84, 0.86), "snow-256": (0.87, 0.91)}
    table7 = [{"scheme": k, "x_accuracy": v[0], "y_accuracy": v[1]} for k, v in accuracies.items()]
    lf = {"scheme": "lf", "x_accuracy": 0.1, "y_accuracy": 0.1}
    store(tmp_path, "table7", [*table7, lf], data={"x": "", "y": ""}, epochs=15)
    served = {"fo": 60.0, "fe": 55.0, "ft": 10.0, "mp": 9.0, "pn": 2.0, "snow": 40.0, "lf": 99.0}
    store(
        tmp_path,
        "table5",
        [
            {
                "scheme": k,
                "images_per_s": v / (1 if batch == 16 else 7 + len(k)),
                "parameters_millions": 30 + v / 10,
                "tasks": 6,
                "batch": batch,
            }
            for batch in (1, 16)
            for k, v in served.items()
        ],
    )
    kinds = {
        "pooling": (0.86, 5.0, 40.0),
        "conv1x1": (0.84, 15.0, 30.0),
        "attention": (0.87, 25.0, 10.0),
        "all": (0.83, 17.0, 35.0),
    }
    store(
        tmp_path,
        "table6",
        [
            {
                "subscription": k,
                "x_accuracy": a,
                "parameters_millions": p,
                "images_per_s": s,
                "over_attention": s / 10,
            }
            for k, (a, p, s) in kinds.items()
        ],
        data={"x": "stanford40:pictures"},
    )
    option = [
        ("k", "N/4", 0.85),
        ("k", "N/8", 0.86),
        ("k", "N/16", 0.84),
        ("width", "M/8", 0.8),
        ("width", "M/4", 0.7),
        ("sigma2", "0.1", 0.9),
        ("sigma2", "0.001", 0.8),
        ("sigma2", "1e-05", 0.8),
        ("sigma2", "1e-07", 0.8),
    ]
    store(tmp_path, "table4", [{"option": o, "value": v, "mean": m} for o, v, m in option])
    store(
        tmp_path,
        "figure5",
        [{"data": "x", "all_changed_share": value} for value in (0.4, 0.2, 0.1)],
    )
    store(
        tmp_path,
        "figure6",
        [
            {"data": data, "scheme": scheme, "converged_epoch": first + place}
            for data, first in (("x", 7.0), ("y", 99.0))
            for place, scheme in enumerate(speeds)
        ],
        epochs=180,
    )
    (tmp_path / "table9.json").write_text("{", encoding="utf-8")

    found = ours(tmp_path)

    for beginning, value, agrees in [
        ("SNOW-256's training throughput over the faster", 52 / 32, "no"),
        ("SNOW-256's training throughput over PN's", 52 / 11, "no"),
        ("2x to 5x higher", 52 / 32, "no"),
        ("PN is the slowest", 11 / 20, "yes"),
        ("FO and FE show higher", 65 / 52, "yes"),
        ("only marginally", 74 / 52, "no"),
        ("SNOW-256 is comparable", 0.0, "yes"),
        ("SNOW has less overhead", 34 / 30.2, "no"),
        ("and in inference throughput", 4.0, "yes"),
        ("yet shows better accuracy than FE", 1.0, "no"),
        ("MP does not have much", 30.9 / 36, "yes"),
        ("SNOW marginally increases", 34 / 36, "yes"),
        ("it is comparable on Action", 1.0, "yes"),
        ("FO is the smallest", 36 / 30.2, "no"),
        ("PN has the most", 30.2 / 36, "no"),
        ("FT has the second most", 31 / 36, "no"),
        ("MP suffers", 0.9, "yes"),
        ("PN has poor", 2 / 9, "yes"),
        ("channel pooling has the minimum", 5 / 15, "yes"),
        ("it has the overall best", -1.0, "no"),
        ("it is worse", 0.0, "yes"),
        ("it is slightly", 0.0, "yes"),
        ("MP is slower", 32 / 20, "no"),
        ("less memory", 0.34, "no"),
        ("FO loses", 6.0, "no"),
        ("all converge", 13.0, "yes"),
        ("K = N/8", 1.0, "yes"),
        ("σ² = 0.001", -10.0, "no"),
        ("FO serves fastest", 60 / 55, "yes"),
        ("FO has the worst", 0.0, "yes"),
        ("SNOW serves comparably", 40 / 55, "no"),
        ("SNOW's throughput of serving", 4.0, "no"),
        ("SNOW has slightly more", 34 / 35.5, "yes"),
        ("selections stabilise", 0.25, "yes"),
        ("channel pooling is the most", 0.0, "no"),
        ("1x1 convolution's", 2.0, "no"),
        ("channel pooling's serving", 4.0, "no"),
        ("fewer parameters", 80.0, "yes"),
    ]:
        assert find(found, beginning)[0] == pytest.approx(value), beginning
        assert find(found, beginning)[1] == agrees, beginning
    assert find(found, "MP is slower")[2].endswith("ours: 128 px, SNOW at a batch of 256, a CPU")
    assert find(found, "less memory")[2].endswith("ours: 128 px, batch 128, a CPU")
    assert find(found, "FO loses")[2].endswith("ours: x, y, 15 epochs")
    assert find(found, "a delta of M/8")[:2] == (None, None)
    assert "was run without what it takes" in find(found, "a delta of M/8")[2]


def test_the_slowest_and_the_most_are_of_all_that_the_paper_has(tmp_path: Path) -> None:
    """Of two schemes one is always the slowest."""
    speeds = [{"batches": "own", "scheme": k, "images_per_s": 9.0} for k in ("pn", "snow-256")]
    store(tmp_path, "table8", speeds)
    sizes = [{"scheme": k, "parameters_millions": 9.0, "tasks": 6} for k in ("ft", "snow")]
    store(tmp_path, "table5", sizes)
    right = [{"scheme": k, "x_accuracy": v} for k, v in (("fo", 0.7), ("snow-256", 0.8))]
    store(tmp_path, "table7", right, data={"x": ""}, epochs=90)
    options = [("k", "N/8", 0.8), ("k", "N/4", 0.7)]
    store(tmp_path, "table4", [{"option": o, "value": v, "mean": m} for o, v, m in options])
    curves = [{"data": "x", "scheme": k, "converged_epoch": 50.0} for k in ("fo", "snow-256")]
    store(tmp_path, "figure6", curves, epochs=180)

    found = ours(tmp_path)

    assert find(found, "PN is the slowest")[:2] == (None, None)
    assert find(found, "FT has the second most")[:2] == (None, None)
    assert find(found, "FO has the worst accuracy")[:2] == (None, None)
    assert find(found, "K = N/8 is the best")[:2] == (None, None)
    assert find(found, "all converge")[:2] == (None, None)


def test_a_smaller_delta_and_batches_are_told(tmp_path: Path) -> None:
    rows = [
        {
            "scheme": k,
            "images_per_s": v * batch,
            "parameters_millions": v,
            "tasks": 6,
            "batch": batch,
        }
        for batch in (1, 16)
        for k, v in (("fe", 5.0), ("snow", 4.0), ("ft", 1.0))
    ]
    store(tmp_path, "table5", rows, delta={"from_stage": 4, "blocks": None, "k_divisor": 8})

    value, _, why = find(ours(tmp_path), "SNOW's throughput of serving")

    assert value == 4.0
    assert why.endswith("ours: batch 16, from-stage 4")


@pytest.mark.parametrize(
    ("beginning", "value", "agrees"),
    [
        ("MP is slower", 1.04, "no"),
        ("MP is slower", 0.99, "yes"),
        ("FO serves fastest", 0.97, "no"),
        ("FO serves fastest", 1.01, "yes"),
        ("channel pooling is the most", 0.5, "no"),
        ("SNOW-256's training throughput over PN's", 5.0, "yes"),
    ],
)
def test_an_order_has_no_tolerance(beginning: str, value: float, agrees: str) -> None:
    (statement,) = (each for each in STATEMENTS if each.text.startswith(beginning))

    assert statement.agrees(value) == agrees


def test_runs_that_end_before_epoch_60_do_not_show_that_all_converge_by_then(
    tmp_path: Path,
) -> None:
    store(tmp_path, "figure6", [{"data": "x", "converged_epoch": 14.0}], data={"x": ""}, epochs=15)

    value, agrees, why = find(ours(tmp_path), "all converge")

    assert (value, agrees) == (None, None)
    assert "runs of 60 or fewer cannot tell" in why


def test_tables_from_before_they_had_the_papers_numbers_are_not_taken(tmp_path: Path) -> None:
    """Table 5 was of training, 7 a grid of shapes, 8 of serving, and the figures others."""
    speeds = [{"scheme": k, "images_per_s": v} for k, v in (("fo", 70.0), ("fe", 80.0))]
    before: dict[str, list[dict[str, Any]]] = {
        "table4": [{"sigma2": 0.001, "k": "N/8", "mean": 0.8}],
        "table5": [{**row, "parameters_millions": 1.0, "peak_megabytes": 3.0} for row in speeds],
        "table6": [{"subscription": "pooling", "images_per_s": 1.0, "peak_megabytes": 3.0}],
        "table7": [{"width": "1/8", "k": "N/8", "x_accuracy": 0.8}],
        "table8": [{**row, "batch": 1, "over_ft": 2.0} for row in speeds],
        "figure5": [{"data": "x", "sigma2": 0.001, "accuracy": 0.8}] * 2,
        "figure6": [{"subscription": "layer1", "common_share": 0.1}],
    }
    for name, rows in before.items():
        store(tmp_path, name, rows, data={"x": ""}, epochs=180)

    found = ours(tmp_path)

    assert {value[:2] for value in found.values()} == {(None, None)}
    assert "run `snow-deploy paper table5`" in find(found, "FO serves fastest")[2]
