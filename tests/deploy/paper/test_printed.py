"""The printed figures, held against the paper's tables where those are at hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from snow_deploy.models.options import Subscribing
from snow_deploy.models.schemes.lwf import OLD_TASKS_WEIGHT
from snow_deploy.paper import printed
from snow_deploy.training.options import PAPER_BATCHES, TrainOptions, recipe_for

ROOT = Path(__file__).resolve().parents[3]
BESIDE = [folder / "shared" / "paper" / "README.md" for folder in ROOT.parents]
SUBSCRIPTIONS = {
    "1×1 convolution": "conv1x1",
    "channel-wise attention": "attention",
    "all": "all",
    "channel pooling": "pooling",
}
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-\d+)?")


class Tables:
    """The Markdown tables below each heading; a heading's text up to the colon or bracket."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sections = {
            re.split(r"[:(;]", part.partition("\n")[0])[0].strip(): part
            for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]
        }

    def tables(self, section: str) -> list[dict[str, list[str]]]:
        """Return the tables of a section: each row's cells by its first cell, headings included."""
        found: list[dict[str, list[str]]] = []
        before = ""
        for line in self.sections[section].splitlines():
            if not line.startswith("|"):
                before = line
                continue
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not before.startswith("|"):
                found.append({})
            before = line
            if not set(cells[0]) <= set("-") or not cells[0]:
                found[-1][cells[0]] = cells[1:]
        return found


@pytest.fixture(scope="module")
def paper() -> Tables:
    found = next((path for path in BESIDE if path.is_file()), None)
    if found is None:
        pytest.skip("the paper's tables are not at hand")
    return Tables(found.read_text(encoding="utf-8"))


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def test_figure_4(paper: Tables) -> None:
    (table,) = paper.tables("Setting")
    names = [name.lower() for name in table[""]]

    batches, rates = (numbers(" ".join(table[row])) for row in ("batch", "initial rate"))
    expected = dict(zip(names, zip(batches, rates, strict=True), strict=True))
    assert expected == {name: printed.RATES[name] for name in names}
    said = paper.sections["Setting"]
    assert "K = N/8, σ² = 0.001 (10⁻⁸ for Action)" in said
    assert printed.SIGMA2["action"] == 1e-8
    assert {printed.SIGMA2[data] for data in printed.DATA if data != "action"} == {0.001}


def test_table_3(paper: Tables) -> None:
    (table,) = paper.tables("Table 3")

    assert [name.lower() for name in table[""]] == list(printed.DATA)
    assert numbers(" ".join(table["classes"])) == list(printed.CLASSES)
    pairs = [tuple(numbers(cell)) for cell in table["train / test"]]
    assert pairs == [printed.PICTURES[data] for data in printed.DATA]


def test_table_2(paper: Tables) -> None:
    (said,) = (text for name, text in paper.sections.items() if name.startswith("Table 1"))

    for name, kind in (("1×1", "conv1x1"), ("attention", "attention"), ("pooling", "pooling")):
        order, pattern = printed.OVERHEAD[kind]
        assert re.search(rf"{name}[^;.]*{re.escape(order)}, {pattern}", said), (kind, said)


def test_table_4(paper: Tables) -> None:
    (table,) = paper.tables("Table 4")

    ours = [
        (group, option)
        for group in ("k", "width", "sigma")
        for option in printed.SENSITIVITY[group]
    ]
    for place, (group, option) in enumerate(ours):
        heading = table[""][place]
        found = tuple(float(table[row][place]) for row in ("top-1", "top-5"))
        assert found == printed.SENSITIVITY[group][option]
        assert numbers(heading)[-1] == option, heading
    assert len(table["top-1"]) == len(ours)


def test_table_5(paper: Tables) -> None:
    (table,) = paper.tables("Table 5")

    names = [name.lower() for name in table[""]]
    for row, known in (
        ("parameters, M", printed.PARAMETERS),
        ("images/s", printed.SERVING),
    ):
        assert dict(zip(names, map(float, table[row]), strict=True)) == known


def test_table_6(paper: Tables) -> None:
    (table,) = paper.tables("Table 6")

    assert {SUBSCRIPTIONS[name] for name in table if name} == set(get_args(Subscribing))
    for name, kind in SUBSCRIPTIONS.items():
        millions, *accuracies = map(float, table[name])
        assert millions == printed.SUBSCRIPTION_PARAMETERS[kind]
        assert accuracies == [printed.SUBSCRIPTION_ACCURACIES[kind][data] for data in printed.DATA]
    serving = re.search(
        r"attention serves ([\d.]+) images/s, channel pooling ([\d.]+\d)", paper.text
    )
    assert serving is not None
    speeds = printed.SUBSCRIPTION_SERVING
    assert [float(each) for each in serving.groups()] == [speeds["attention"], speeds["pooling"]]


@pytest.mark.parametrize(
    ("number", "known"), [("Table 7", printed.ACCURACIES), ("Table 8", printed.TRAINING)]
)
def test_tables_7_and_8(
    paper: Tables, number: str, known: dict[str, dict[str, tuple[float, float]]]
) -> None:
    (table,) = paper.tables(number)

    assert [name.lower() for name in table.pop("")] == list(printed.DATA)
    assert {name.lower() for name in table} == set(known)
    for name, cells in table.items():
        assert [tuple(numbers(cell)) for cell in cells] == [
            known[name.lower()][data] for data in printed.DATA
        ]


def test_table_9(paper: Tables) -> None:
    tables = paper.tables("Table 9")

    assert len(tables) == 2
    for order, table in zip("ab", tables, strict=True):
        heading = f"order {order.upper()}"
        learned = [name.strip("→ ").lower() for name in table.pop(heading)]
        assert learned == list(printed.LEARNED[order])
        for name, cells in table.items():
            assert numbers(" ".join(cells)) == list(printed.LEARNED[order][name.lower()])
    heading = paper.sections["Table 9"].partition("\n")[0]
    batch, rate, weight, *training = numbers(heading.partition("(")[2].replace("λ₀", ""))
    assert (batch, rate) == printed.RATES["lf"]
    assert weight == printed.LF_WEIGHT
    assert tuple(training) == printed.LF_TRAINING


def test_what_follows_from_table_8(paper: Tables) -> None:
    """The four ratios that stand below it."""
    said = paper.sections["Table 8"].partition("So against FT")[2]
    ratios = [found for found in numbers(said) if found not in {128, 256}]

    speed, memory = printed.TRAINING["ft"]["food"]
    ours = [
        round(ratio, 2)
        for name in ("snow-256", "snow-128")
        for ratio in (
            printed.TRAINING[name]["food"][0] / speed,
            printed.TRAINING[name]["food"][1] / memory,
        )
    ]
    assert ours == [2.66, 0.32, 2.44, 0.21]
    assert ratios[:4] == ours


def test_our_defaults_are_the_papers() -> None:
    """Batches, rates, the old tasks' weight."""
    for name, (batch, rate) in printed.RATES.items():
        scheme = name.partition("-")[0]
        options = TrainOptions(recipe=recipe_for("paper", scheme), batch_size=batch)  # type: ignore[arg-type]
        assert options.learning_rate() == pytest.approx(rate)
        assert batch in PAPER_BATCHES[scheme]  # type: ignore[index]
    assert OLD_TASKS_WEIGHT == printed.LF_WEIGHT


def test_what_lf_forgets_is_a_mean_over_all_but_the_last() -> None:
    first = ((81.87 - 15.31) + (77.08 - 56.36) + (70.94 - 32.91) + (71.93 - 39.29)) / 4
    assert printed.papers_forgotten("a") == pytest.approx(first)


def test_which_data_is_the_papers() -> None:
    assert printed.dataset("dtd:data") == "dtd"
    assert printed.dataset("stanford40:PATH") == "action"
    assert printed.dataset("imagefolder:dtd") is None


def test_counts_compare_with_the_papers_for_its_networks_alone() -> None:
    assert printed.is_papers("resnet50", 1000, (200, 196, 40, 47, 101))
    assert not printed.is_papers("resnet50", 1000, (101, 47, 40, 196))
    assert not printed.is_papers("resnet50", 10, printed.CLASSES)
    assert not printed.is_papers("resnet18", 1000, printed.CLASSES)
