"""Publications of graphs that are small and yet have tensors of their own, and boxes for them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from snow_deploy.fleet.keys import KeyFolders, Signing
from snow_deploy.fleet.make_release import ReleaseRequest, publish_release
from snow_deploy.fleet.publication import Publication
from snow_deploy.fleet.waves import go_on
from snow_runtime.graph.manifest import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Manifest,
    Preprocessing,
    SourceEntry,
    TaskEntry,
)
from snow_runtime.self_check import with_self_check
from snow_runtime.update.agent import Agent
from snow_runtime.update.agent_options import AgentOptions
from snow_runtime.update.box import Box
from snow_runtime.update.transport import open_transport
from snow_runtime.update.wanted import ROLLOUT
from tests.onnx_models import small_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from snow_deploy.fleet.make_release import PublishedRelease
    from snow_runtime.update.release import Release
    from snow_runtime.update.rollout import Rollout

SIZE = 8
WIDE = 6_000
TENSOR_BYTES = 3 * 4 * WIDE  # of the source, and of the delta: just enough for a piece of its own
MANIFEST = Manifest(
    SourceEntry("small", "a" * 64, 3 * WIDE),
    Preprocessing(SIZE, SIZE, IMAGENET_MEAN, IMAGENET_STD),
    (TaskEntry("food", "food", ("hot", "cold", "none")),),
    versions={"onnx": "1.20.0"},
)


def save_graph(path: Path, delta: int = 0, *, source: int = 0, check: bool = True) -> Path:
    """Write a graph of a source and a delta, each one tensor drawn from its own seed.

    Args:
        path: The file.
        delta: Seed of the delta.
        source: Seed of the source.
        check: Whether the answers about the check picture in it are its own.
    """
    wide = np.random.default_rng(source).normal(size=(3, WIDE)).astype(np.float32)
    narrow = np.random.default_rng(delta).normal(size=(WIDE, 3)).astype(np.float32) / 100
    node = helper.make_node
    model = small_model(
        [
            node("GlobalAveragePool", ["image"], ["pooled"]),
            node("Flatten", ["pooled"], ["colours"]),
            node("MatMul", ["colours", "source.w"], ["features"]),
            node("MatMul", ["features", "food.w"], ["food"]),
        ],
        {"image": ("batch", 3, SIZE, SIZE)},
        {"food": ("batch", 3)},
        {"source.w": wide, "food.w": narrow},
    )
    model = with_self_check(model, MANIFEST)
    if not check:  # the weights change after the answers were written down
        model.graph.initializer[1].raw_data = narrow[::-1].tobytes()
    onnx.save(model, path)
    return path


@dataclass
class Publisher:
    """A publication in a folder, its keys beside it."""

    folder: Path

    @property
    def publication(self) -> Publication:
        secret = self.folder / "passphrase"
        keys = KeyFolders((self.folder / "keys",), secret)
        return Publication(self.folder / "public", Signing(keys))

    def create(self) -> Publisher:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "passphrase").write_text("a secret of a test\n", encoding="utf-8")
        self.publication.create({}, {}, {})
        return self

    def release(self, name: str, delta: int = 0, **more: Any) -> PublishedRelease:
        """Publish a graph for all boxes at once, unless there are waves."""
        settings = {"watch_s": 0.0, **more}
        graph = settings.pop("graph", None) or save_graph(self.folder / "snow.onnx", delta)
        done = publish_release(self.publication, ReleaseRequest(name, graph, **settings))
        if not settings.get("waves"):
            self.wave(go_on)
        return done

    def wave(self, step: Callable[[Rollout], Rollout]) -> None:
        publication = self.publication
        rollout = step(publication.rollout())
        publication.publish({ROLLOUT: rollout.to_json().encode()})

    def copy(self, folder: Path) -> Publisher:
        shutil.copytree(self.folder, folder)
        return Publisher(folder)

    @property
    def place(self) -> Path:
        return self.folder / "public"


@dataclass
class TestProgram:
    """A program that notes what it is asked to do, and does as well as it is told to."""

    __test__ = False
    watched = True
    calls: list[str] = field(default_factory=list)
    faults: list[str | None] = field(default_factory=list)
    answers: bool = True
    answered_lately: bool = False
    had_to: list[bool] = field(default_factory=list)

    def begin(self, _budget_ms: float | None, *, has_to_answer: bool = False) -> None:
        self.calls.append("begin")
        self.had_to.append(has_to_answer)

    def look(self) -> None:
        pass

    def switch(self, _budget_ms: float | None) -> None:
        self.calls.append("switch")

    def fault(self) -> str | None:
        return self.faults.pop(0) if self.faults else None

    def rest(self) -> None:
        self.calls.append("rest")

    def end(self) -> None:
        self.calls.append("end")


def agent_of(
    folder: Path,
    place: object,
    publisher: Publisher | None,
    *,
    program: TestProgram | None = None,
    name: str = "box-1",
    tags: Sequence[str] = (),
    try_out: Callable[[Path, Release], object] | None = lambda _folder, _release: None,
    **more: Any,
) -> Agent:
    """Make an agent of a box, which has been begun."""
    root = None if publisher is None else publisher.place / "metadata" / "1.root.json"
    agent = Agent(
        Box(folder),
        open_transport(str(place)),
        program or TestProgram(),
        AgentOptions(name, tuple(tags), root=root),
        try_out=try_out,
        **more,
    )
    agent.recover()
    agent.begin()
    return agent


def settle(agent: Agent, rounds: int = 4) -> str:
    """Do rounds until nothing is on trial any more; return how the box does."""
    state = agent.step()
    while agent.state.trial is not None and rounds:
        state, rounds = agent.step(), rounds - 1
    return state


def present(folder: Path) -> str | None:
    """Return the name of the release that a box's pointer names, if all of it is there."""
    box = Box(folder)
    release = box.release(box.pointed())
    return None if release is None else release.name
