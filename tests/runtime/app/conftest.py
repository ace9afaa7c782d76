"""A loop without a model: moving pictures and changing answers, put where the page looks."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime.app.answers import FrameAnswer, TaskAnswer
from snow_runtime.app.latest_frames import LatestFrames
from snow_runtime.app.stats import Stats
from snow_runtime.cameras.clock import SYSTEM_CLOCK
from snow_runtime.cameras.frame import Frame
from tests.runtime.app.asking import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from playwright.sync_api import Browser

    from snow_runtime.app.page import PageServer
    from tests.runtime.app.tabs import Tab

HEIGHT, WIDTH = 90, 160
NAME = "box.example"
"""By which browsers reach a page behind a proxy."""
FRAME_S = 0.04
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    f"--host-resolver-rules=MAP {NAME} 127.0.0.1",
]


def until(happened: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Wait until something is true, and give it back."""
    end = time.monotonic() + timeout_s
    while not (value := happened()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return value


def picture(number: int) -> NDArray[np.uint8]:
    """Draw a white bar that moves over blue, `[H, W, 3]`, blue first."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = 200
    left = 4 * number % (WIDTH - 40)
    image[:, left : left + 40] = 255
    return image


class Scene:
    """What the page looks at; frames are put one by one, or by a thread.

    Attributes:
        live: Pictures and answers.
        stats: Counts.
        states: By camera, what `cameras` gives.
        labels: By task, its labels in turn.
        paused: Cameras that give no more.
    """

    def __init__(self) -> None:
        self.live = LatestFrames()
        self.stats = Stats()
        self.states: dict[str, dict[str, Any]] = {}
        self.labels: dict[str, list[str]] = {"shape": ["circle", "square"], "colour": ["red"]}
        self.paused: set[str] = set()
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None
        self.add("front")

    def add(self, camera: str) -> None:
        self.states[camera] = {
            "state": "connected",
            "since_s": 5.0,
            "error": None,
            "frames": 0,
            "drops": 7,
            "reconnections": 2,
            "bad_frames": 1,
            "connected": 1,
        }

    def cameras(self) -> dict[str, dict[str, Any]]:
        return {name: dict(state) for name, state in self.states.items()}

    def tasks(self) -> list[str]:
        return list(self.labels)

    def put(self, camera: str = "front") -> FrameAnswer:
        """Do what the loop does with one frame."""
        number = self.states[camera]["frames"]
        self.states[camera]["frames"] += 1
        frame = Frame(picture(number), number, SYSTEM_CLOCK.now(), camera)
        tasks = {
            task: TaskAnswer(labels[number // 5 % len(labels)], 0.5 + number % 10 / 20)
            for task, labels in self.labels.items()
            if task not in self.live.hidden
        }
        answer = FrameAnswer(
            camera, number, frame.captured_at.unix_s, 30.0 + number % 3, 12.5, tasks
        )
        self.stats.record_answered(camera, answer.latency_ms, answer.age_ms)
        self.live.put(frame, answer)
        return answer

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="scene")
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        if self._thread is not None:
            self._thread.join()

    def page(self, **options: Any) -> PageServer:
        from snow_runtime.app.page import Dashboard, PageServer, ServingOptions

        told = {key: options.pop(key) for key in ("setup", "hung_after_s") if key in options}
        board = Dashboard(self.live, self.stats, self.cameras, self.tasks, **told)
        labelling = options.pop("labelling", None)
        return PageServer(board, ServingOptions(**{"port": 0, **options}), labelling)

    def _run(self) -> None:
        while not self._ends.wait(FRAME_S):
            for camera in [name for name in self.states if name not in self.paused]:
                self.put(camera)


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.stop()


@pytest.fixture
def moving(scene: Scene) -> Scene:
    """Give a scene whose pictures and answers change by themselves."""
    scene.start()
    return scene


@pytest.fixture
def page(scene: Scene) -> Iterator[PageServer]:
    with scene.page() as server:
        yield server


@pytest.fixture
def locked(scene: Scene) -> Iterator[PageServer]:
    with scene.page(token=TOKEN) as server:
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl is installed: apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificate")
    files = folder / "box.pem", folder / "box.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    command += ["-addext", f"subjectAltName=DNS:{NAME}", "-out", str(files[0])]
    subprocess.run([*command, "-keyout", str(files[1])], check=True, capture_output=True)
    return files


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program,
            args=ARGUMENTS,
        )
        yield started
        started.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    from tests.runtime.app.tabs import Tab

    opened: list[Tab] = []

    def opens(url: str, **options: Any) -> Tab:
        opened.append(Tab(browser, **options))
        opened[-1].page.goto(url)
        return opened[-1]

    yield opens
    for each in opened:
        each.close()
