"""Drift on the live page, in a real Chromium; skipped where there is none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.runtime.app.tabs import live

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.app.conftest import Scene
    from tests.runtime.app.tabs import Tab


def figures(question: str, **fields: Any) -> dict[str, Any]:
    usual = {"drifted": False, "strange": 2, "blocks": 12, "share": 0.25, "since": None}
    return {"camera": "front", "question": question, **usual, **fields}


def test_drift_is_drawn_at_its_camera_and_is_a_problem(
    moving: Scene, tab: Callable[..., Tab]
) -> None:
    rows = [figures("shape"), figures("colour", strange=0, blocks=0, share=0.0)]
    moving.stats.drift = lambda: rows
    moving.stats.count("collected", 3)
    moving.stats.count("drift_changes", 2)
    with moving.page() as page:
        shown = tab(page.url)
        live(shown)
        meter = shown.page.get_by_role("meter", name="Share of strange frames, shape")
        meter.wait_for()
        assert meter.evaluate("one => one.value") == 0.25
        said = shown.page.locator(".drifts li").all_inner_texts()
        assert "as trained, 2 of 12 blocks strange" in said[0]
        assert "watched since now, 0 of 0 blocks" in said[1]
        assert shown.text("[data-figure=problems]") == "None"  # what was kept is no problem

        long_ago = time.time() - 7300
        rows[0] = figures("shape", drifted=True, strange=11, share=0.9, since=long_ago)
        shown.page.get_by_text("shape of front has drifted").wait_for()
        shown.page.locator(".drifts", has_text="drifted for 2 h 1 min, 11 of 12").wait_for()
        shown.page.get_by_text("front: shape has drifted").wait_for(state="attached")
        rows.clear()
        shown.page.locator(".drifts").wait_for(state="hidden")
        assert shown.complaints == []
