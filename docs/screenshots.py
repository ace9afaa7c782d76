"""Take the two screenshots of the README and the site anew, of a demo that has run.

    make demo
    .venv/bin/python docs/screenshots.py demo-output

It needs Chromium, and the extras `dev` and `page`.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Page

ASSETS = Path(__file__).parent / "assets"
REPORT_SIZE = (900, 1400)  # pixels; the report goes on below
PAGE_SIZE = (1280, 1010)
WATCHED_MS = 60_000  # the curves of the page show the last minute
ASKED = """
model = {graph}
output = "none"

[cameras.yard]
address = "synthetic://"

[cameras.yard.views.middle]
box = [0.28, 0.15, 0.72, 0.85]

[questions.shape]
task = "shape"
view = "middle"

[questions.colour]
task = "colour"

[questions.digit]
task = "digit"

[states]
agree = "3/5"

[page]
port = 0
"""
COLOURS = 200  # of the palette: a third of the bytes, and no difference to be seen


def main() -> None:
    """Take both."""
    demo = Path(sys.argv[1]).resolve()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    run = [sys.executable, "-m", "snow_deploy", "run", "--config"]
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
    ):
        config = Path(folder) / "snow.toml"
        graph = json.dumps(str(demo / "snow.onnx"))
        config.write_text(ASKED.format(graph=graph), encoding="utf-8")
        process = subprocess.Popen([*run, config], stderr=subprocess.PIPE, text=True)
        try:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport=_size(REPORT_SIZE))
            page.goto((demo / "report.html").as_uri())
            _save(page, "demo-report.png")
            page = browser.new_page(viewport=_size(PAGE_SIZE))
            assert process.stderr is not None
            page.goto(process.stderr.readline().removeprefix("live page: ").strip())
            page.wait_for_timeout(WATCHED_MS)
            _save(page, "live-page.png")
            browser.close()
        finally:
            process.terminate()
            process.wait()


def _size(size: tuple[int, int]) -> dict[str, int]:
    return {"width": size[0], "height": size[1]}


def _save(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    palette = picture.quantize(COLOURS)
    dithered = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    dithered.save(ASSETS / name, optimize=True)
    print(f"{name}: {(ASSETS / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
