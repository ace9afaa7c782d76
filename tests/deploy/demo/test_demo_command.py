from __future__ import annotations

import os
import re
import signal
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import lightning
import onnx
import pytest
from click.testing import CliRunner

import snow_runtime
from snow_deploy.cli import main
from snow_deploy.data import open_data
from snow_deploy.demo import pretrain
from snow_deploy.training import run, trainer
from snow_deploy.training.store import Store
from snow_runtime.collection.collection import Collection

if TYPE_CHECKING:
    from pathlib import Path


class Pictures(HTMLParser):
    """Collects the sources of the page's pictures and links."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.elsewhere: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if tag == "img" and name == "src":
                self.pictures.append(value or "")
            elif name in {"src", "href"}:
                self.elsewhere.append(value or "")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    result = CliRunner().invoke(main, ["demo", "--quick", "-o", str(folder)])
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_the_way_from_pictures_to_predictions(demo: tuple[Path, str]) -> None:
    folder, _ = demo

    assert Store(folder / "store").tasks() == ("colour", "digit", "shape")
    outputs = [output.name for output in onnx.load(folder / "snow.onnx").graph.output]
    assert outputs == ["shape", "colour", "digit", "source.features"]


def test_the_table_has_every_figure_as_measured(demo: tuple[Path, str]) -> None:
    folder, output = demo

    store = Store(folder / "store")
    for task in store.tasks():
        metrics = store.load_task(task).metrics
        row = next(line for line in output.splitlines() if re.search(rf"[│|] {task} ", line))
        assert f"{metrics['accuracy']:.3f}" in row
        assert f"{metrics['linear_accuracy']:.3f}" in row
    assert re.search(r"shared graph [\d.]+ ms, 3 separate whole models [\d.]+ ms", output)


def test_the_report_is_one_page_that_needs_nothing_else(demo: tuple[Path, str]) -> None:
    page = (demo[0] / "report.html").read_text(encoding="utf-8")

    parser = Pictures()
    parser.feed(page)
    assert len(parser.pictures) == 3 + 6  # curves, reliability, selections, six predictions
    assert all(picture.startswith("data:image/png;base64,") for picture in parser.pictures)
    assert not parser.elsewhere
    assert "{{" not in page
    for record in map(Store(demo[0] / "store").load_task, ("colour", "digit", "shape")):
        assert f"<td>{record.metrics['brier']:.3f}</td>" in page


def test_the_running_model_learns_a_question_from_twenty_labels(demo: tuple[Path, str]) -> None:
    folder, output = demo

    with Collection.open(folder / "collection") as collection:
        labels = collection.labels("pattern")
    assert Counter(labels.values()) == {"lined": 10, "spotted": 10}
    readout = folder / "collection" / "versions" / "pattern" / "0001.readout"
    tests = open_data("demo:pattern?train=64&test=32&size=48").final[1]
    with snow_runtime.load(folder / "snow.onnx") as model:
        model.add_readout(readout)
        answers = model.batch([tests.load(index) for index in range(32)])
    right = [
        each["pattern"].label == tests.labels[tests.target(n)] for n, each in enumerate(answers)
    ]
    said = f"from 20 labels: {sum(right) / 32:.3f} right of 32 held-out pictures"
    assert said in output
    assert f"<td>{sum(right) / 32:.3f}</td>" in (folder / "report.html").read_text("utf-8")


def test_what_is_not_a_demos_is_not_replaced(tmp_path: Path) -> None:
    """The store that `train` uses unless told otherwise, in the same folder."""
    (tmp_path / "store" / "tasks").mkdir(parents=True)
    (tmp_path / "store" / "tasks" / "food.safetensors").touch()

    result = CliRunner().invoke(main, ["demo", "--quick", "-o", str(tmp_path)])

    assert result.exit_code == 1
    assert "store is there, and is not an earlier demo's" in result.output
    assert (tmp_path / "store" / "tasks" / "food.safetensors").exists()


class Stopping(lightning.Callback):
    """Presses Ctrl-C in the training that comes after so many others."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_start(self, *_: object) -> None:
        if self.after:
            return
        os.kill(os.getpid(), signal.SIGINT)

    def on_train_end(self, *_: object) -> None:
        self.after -= 1


@pytest.mark.parametrize("after", [0, 1], ids=["the source", "the first task"])
def test_an_interrupted_demo_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    make, stopping = trainer.make_trainer, Stopping(after)
    for module in (pretrain, run):
        monkeypatch.setattr(
            module,
            "make_trainer",
            lambda epochs, callbacks, **options: make(epochs, [*callbacks, stopping], **options),
        )

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job may ignore it
    try:
        result = CliRunner().invoke(main, ["demo", "--quick", "-o", str(tmp_path)])
    finally:
        signal.signal(signal.SIGINT, before)

    assert result.exit_code == 130
    assert result.stderr == "interrupted; the same command begins anew\n"
