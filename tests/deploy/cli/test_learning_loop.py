"""A question from nothing: kept, labelled by keyboard, fitted and asked, while `run` goes on."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import snow_runtime
from snow_runtime.collection.collection import Collection
from snow_runtime.collection.records import CollectionQuestion
from snow_runtime.refit.versions import Versions
from tests.deploy.cli.running import Running
from tests.deploy.cli.test_label import port_in
from tests.runtime.app import conftest as pages
from tests.runtime.app.tabs import Tab
from tests.runtime.readout.graphs import feature_graph
from tests.runtime.refit.boxes import COLOURS, jpeg_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytest.importorskip("scipy")
pytest.importorskip("starlette")
FRAMES, LABELLED, HELD_OUT = 3000, 40, 200
PATIENCE_S = 60.0
browser = pages.browser  # the fixture


def shown(jpeg: bytes) -> str:
    """Say as a person would which colour a picture has."""
    with Image.open(io.BytesIO(jpeg)) as image:
        mean = np.asarray(image.convert("RGB"), float).mean((0, 1))
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


@pytest.mark.slow
def test_forty_labels_by_keyboard_become_a_question_that_is_asked(
    tmp_path: Path, browser: Browser
) -> None:
    rng = np.random.default_rng(0)
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(FRAMES):
        (frames / f"{number:05}.jpg").write_bytes(jpeg_of(list(COLOURS)[number % 2], rng))
    graph, folder = feature_graph(tmp_path / "graph.onnx").path, tmp_path / "kept"
    running = Running(
        *(graph, "--camera", f"door=folder://{frames}?fps=20", "--output", "none", "--port", 0),
        *("--collect", folder, "--collect-random", 1, "--collect-hourly", 10**6),
    )
    tab = Tab(browser)
    try:
        assert running.process.stderr is not None
        port = port_in(running.process.stderr.readline(), "live page")
        with Collection.open(folder) as kept:
            until(lambda: len(kept.pictures()) >= LABELLED, PATIENCE_S)
            kept.add_question(CollectionQuestion("colour", tuple(COLOURS), "door"))
            label_by_keyboard(tab, f"http://127.0.0.1:{port}/label/", kept)
            versions = Versions(folder / "versions" / "colour")
            until(lambda: versions.state().live == 1, PATIENCE_S)
            tab.page.goto(f"http://127.0.0.1:{port}/")
            until(lambda: "colour" in tab.names(), PATIENCE_S)
            labels = kept.labels("colour")
            pictures = [Image.open(io.BytesIO(kept.jpeg(each))) for each in labels]
        assert tab.complaints == []
    finally:
        tab.close()
        running.kill()

    unseen = [(colour, jpeg_of(colour, rng)) for colour in COLOURS for _ in range(HELD_OUT // 2)]
    tests = [Image.open(io.BytesIO(jpeg)).convert("RGB") for _, jpeg in unseen]
    with snow_runtime.load(graph) as model:
        at_once = snow_runtime.fit(
            model, [each.convert("RGB") for each in pictures], list(labels.values()), name="again"
        )
        model.add_readout(folder / "versions" / "colour" / "0001.readout")
        model.add_readout(at_once)
        answers = model.batch(tests)
    right = {
        task: np.mean(
            [each[task].label == colour for each, (colour, _) in zip(answers, unseen, strict=True)]
        )
        for task in ("colour", "again")
    }
    assert right["colour"] == pytest.approx(right["again"], abs=0.02)
    assert right["colour"] > 0.9


def labelled_more(kept: Collection, count: int) -> bool:
    return len(kept.labels("colour")) > count


def label_by_keyboard(tab: Tab, address: str, kept: Collection) -> None:
    """Give forty pictures the label of their colour, each by one key."""
    page = tab.page
    page.add_init_script("localStorage.setItem('snow-labelling-name', 'Ann')")
    page.set_default_timeout(1000 * PATIENCE_S)
    page.goto(address)
    page.locator("#sort").select_option("oldest")
    page.locator("#grid[aria-busy=false] .tile[data-state]").first.wait_for()
    for count in range(LABELLED):
        place = page.locator(".tile.here").get_attribute("id") or ""
        picture = int(place.removeprefix("picture-"))
        page.keyboard.press(str(list(COLOURS).index(shown(kept.jpeg(picture))) + 1))
        until(partial(labelled_more, kept, count), PATIENCE_S)
