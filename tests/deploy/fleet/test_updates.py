"""Boxes against a real web server: what they take, what they refuse, and where they end."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from snow_deploy.fleet.errors import PublishError
from snow_deploy.fleet.publication import Publication
from snow_deploy.fleet.signed_folder import SignedFolder
from snow_deploy.fleet.waves import abort, parse_wave, pause, roll_back
from snow_runtime.update.errors import RejectedError
from snow_runtime.update.status import BoxStatus
from tests.deploy.fleet.publications import (
    TENSOR_BYTES,
    Publisher,
    TestProgram,
    agent_of,
    present,
    save_graph,
    settle,
)
from tests.deploy.fleet.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.update.release import Release


@pytest.fixture
def server(publisher: Publisher) -> Iterator[WebServer]:
    with WebServer(publisher.place) as server:
        yield server


def whole(folder: Path, publisher: Publisher) -> bool:
    """Tell whether the graph on a box is the publisher's, byte for byte."""
    here = (folder / "current" / "snow.onnx").read_bytes()
    return here == (publisher.folder / "snow.onnx").read_bytes()


def test_a_box_takes_a_release_and_then_only_what_is_new(
    publisher: Publisher, server: WebServer, tmp_path: Path
) -> None:
    save_graph(publisher.folder / "snow.onnx", 1)
    program, box = TestProgram(), tmp_path / "box"
    agent = agent_of(box, server.url, publisher, program=program)
    assert settle(agent) == "settled"
    assert present(box) == "r1"
    assert whole(box, publisher)
    assert program.calls == ["switch"]

    first = server.sent_bytes
    done = publisher.release("r2", 2)
    assert settle(agent) == "settled"
    assert present(box) == "r2"
    assert whole(box, publisher)
    spent = server.sent_bytes - first
    assert spent < TENSOR_BYTES * 1.2  # the source of the same size did not travel again
    assert done.new_bytes < spent < done.new_bytes + 12_000  # and the metadata

    second = server.sent_bytes
    assert agent.step() == "settled"
    assert server.sent_bytes - second < 2_000
    names = sorted(path.name for path in (box / "generations").iterdir())
    assert [name.split("-")[1] for name in names] == ["r1", "r2"]
    assert not list((box / "incoming").iterdir())


def test_one_more_readout_costs_little_more_than_itself(
    publisher: Publisher, server: WebServer, tmp_path: Path
) -> None:
    from tests.runtime.readout.graphs import feature_graph, make_readout

    graph = feature_graph(publisher.folder / "features.onnx")
    readouts = []
    for name in ("one", "two"):
        path = publisher.folder / f"{name}.readout"
        make_readout(graph, name=name).write(path)
        readouts.append(path)
    publisher.release("r2", graph=graph.path, readouts=tuple(readouts[:1]))
    agent = agent_of(tmp_path / "box", server.url, publisher)
    settle(agent)
    before = server.sent_bytes
    publisher.release("r3", graph=graph.path, readouts=tuple(readouts))
    assert settle(agent) == "settled"
    assert server.sent_bytes - before < readouts[1].stat().st_size + 12_000
    folder = tmp_path / "box" / "current"
    assert (folder / "readouts" / "two.readout").read_bytes() == readouts[1].read_bytes()
    graphs = [path.stat().st_ino for path in (tmp_path / "box").glob("generations/*/features.onnx")]
    assert len(graphs) == 2
    assert len(set(graphs)) == 1  # what did not change lies on the disk once


def test_a_cut_link_goes_on_where_it_ended(
    publisher: Publisher, server: WebServer, tmp_path: Path
) -> None:
    server.faults.cut_after = 30_000
    agent = agent_of(tmp_path / "box", server.url, publisher)
    states = [agent.step() for _ in range(2)]
    assert states == ["unreachable"] * 2
    ranges = [given for path, given in server.asked if "/blobs/" in path and given]
    assert "bytes=30000-" in ranges
    rounds = 0
    while settle(agent) != "settled":
        rounds += 1
        assert rounds < 20
    assert present(tmp_path / "box") == "r1"
    assert agent.status("settled").got_bytes < 3 * TENSOR_BYTES


def test_a_server_without_ranges_serves_too(
    publisher: Publisher, server: WebServer, tmp_path: Path
) -> None:
    server.faults.cut_after = 60_000
    agent = agent_of(tmp_path / "box", server.url, publisher)
    assert agent.step() == "unreachable"
    server.faults.cut_after, server.faults.ranges = None, False
    assert settle(agent) == "settled"


@pytest.mark.parametrize("forged", ["/blobs/", "releases", "rollout", "targets.json", "timestamp"])
def test_what_is_not_what_was_signed_is_not_opened(
    publisher: Publisher,
    server: WebServer,
    tmp_path: Path,
    forged: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.faults.forge = forged
    opened: list[bytes] = []
    monkeypatch.setattr(
        "snow_runtime.update.pieces.decompress", lambda packed, *_: opened.append(packed)
    )
    agent = agent_of(tmp_path / "box", server.url, publisher)
    assert agent.step() == "untrusted", agent.error
    assert not opened
    assert present(tmp_path / "box") is None
    assert not (tmp_path / "box" / "current").exists()

    monkeypatch.undo()
    server.faults.forge = "\0"
    assert settle(agent) == "settled"


def test_an_older_publication_is_refused(publisher: Publisher, tmp_path: Path) -> None:
    old = publisher.copy(tmp_path / "old")
    publisher.release("r2", 2)
    box = tmp_path / "box"
    agent = agent_of(box, publisher.place, publisher)
    settle(agent)
    assert present(box) == "r2"
    again = agent_of(box, old.place, publisher)
    assert again.step() == "untrusted"
    assert present(box) == "r2"

    # A power cut may empty the files of the client; what the box noted itself holds all the same.
    shutil.rmtree(box / "metadata")
    again = agent_of(box, old.place, publisher)
    assert again.step() == "untrusted"
    assert "was seen before" in str(again.error)
    assert present(box) == "r2"


def test_metadata_of_two_publications_do_not_mix(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("r2", 2)
    mixed = publisher.copy(tmp_path / "mixed")
    publisher.release("r3", 3)
    metadata = mixed.place / "metadata"
    shutil.copy(publisher.place / "metadata" / "timestamp.json", metadata)
    newest = max(metadata.glob("*.snapshot.json"), key=lambda path: int(path.name.split(".")[0]))
    target = max((publisher.place / "metadata").glob("*.snapshot.json")).name
    shutil.copy(newest, metadata / target)
    agent = agent_of(tmp_path / "box", mixed.place, publisher)
    assert agent.step() == "untrusted"
    assert present(tmp_path / "box") is None


def publication_at(publisher: Publisher, moment: datetime) -> Publication:
    found = publisher.publication
    return Publication(found.folder, replace(found.signing, now=moment))


def test_a_publication_that_nobody_signs_any_more_is_refused(
    publisher: Publisher, tmp_path: Path
) -> None:
    """The freeze: a server goes on to show what once was right."""
    box = tmp_path / "box"
    agent = agent_of(box, publisher.place, publisher)
    settle(agent)
    past = datetime.now(timezone.utc) - timedelta(days=30)
    publication_at(publisher, past).refresh()
    assert agent.step() == "untrusted"
    assert "expired" in str(agent.error)
    assert present(box) == "r1"
    publisher.publication.refresh()
    assert agent.step() == "settled"


class Later(datetime):
    """A clock that is years ahead, or behind."""

    shift = timedelta(0)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + cls.shift


def set_clock(monkeypatch: pytest.MonkeyPatch, years: int) -> None:
    import tuf.ngclient._internal.trusted_metadata_set as client

    Later.shift = timedelta(days=365 * years)
    monkeypatch.setattr(client.datetime, "datetime", Later)
    monkeypatch.setattr("snow_runtime.update.signed.datetime", Later)


def test_a_clock_that_is_years_ahead_refuses_and_says_so(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    set_clock(monkeypatch, 5)
    agent = agent_of(box, publisher.place, publisher)
    assert agent.step() == "untrusted"
    assert "clock" in str(agent.error)
    assert present(box) == "r1"


def test_a_clock_that_is_years_behind_takes_nothing_that_expired_since(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    set_clock(monkeypatch, -20)
    agent = agent_of(box, publisher.place, publisher)
    assert agent.step() == "settled"  # what is new is taken

    # Expired yesterday. To this clock that is far away; the box has seen that it is later.
    publication_at(publisher, datetime.now(timezone.utc) - timedelta(days=15)).refresh()
    assert agent.step() == "untrusted"
    assert "is past" in str(agent.error)


def test_new_keys_reach_boxes_and_old_ones_sign_nothing_any_more(
    publisher: Publisher, tmp_path: Path
) -> None:
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    stolen = publisher.copy(tmp_path / "stolen")
    for role in ("root", "targets", "snapshot", "timestamp"):
        publisher.publication.rotate(role)
    publisher.release("r2", 2)
    agent = agent_of(box, publisher.place, None)
    assert settle(agent) == "settled"
    assert present(box) == "r2"

    # Whoever stole the keys signs a release of a higher number; boxes know the new keys by now.
    for name in ("e2", "e3", "e4", "e5", "e6"):
        stolen.release(name, 6)
    for path in (publisher.place / "metadata").glob("*.root.json"):
        shutil.copy(path, stolen.place / "metadata")
    assert agent_of(box, stolen.place, None).step() == "untrusted"
    assert present(box) == "r2"


def test_a_threshold_takes_the_keys_of_several(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "publisher")
    publisher.folder.mkdir()
    (publisher.folder / "passphrase").write_text("a secret of a test", encoding="utf-8")
    publisher.publication.create({"targets": 3}, {"targets": 2}, {})
    keys = sorted((publisher.folder / "keys").glob("targets-*.pem"))
    publisher.release("r1", 1)
    box = tmp_path / "box"
    assert settle(agent_of(box, publisher.place, publisher)) == "settled"
    for each in keys[1:]:
        each.unlink()
    with pytest.raises(PublishError, match="expected 2 that may sign"):
        publisher.release("r2", 2)
    assert agent_of(box, publisher.place, None).step() == "settled"


@pytest.mark.parametrize("role", ["snapshot", "timestamp"])
def test_what_cannot_be_signed_to_the_end_is_not_begun(
    publisher: Publisher, tmp_path: Path, role: str
) -> None:
    """Else the publisher counts as published what boxes never see."""
    (key,) = (publisher.folder / "keys").glob(f"{role}-*.pem")
    aside = key.rename(tmp_path / key.name)
    before = sorted(publisher.place.glob("metadata/*"))
    drafts = replace(publisher.publication.signing, draft=True)
    draft = Publication(publisher.place, drafts)  # nobody else has to sign: nothing waits

    for change in (
        lambda: publisher.release("r2", 2),
        lambda: publisher.wave(lambda rollout: rollout),
        lambda: publisher.publication.refresh(("targets",)),
        lambda: publisher.publication.rotate("targets"),
        lambda: draft.refresh(("targets",)),
        lambda: draft.rotate("targets"),
    ):
        with pytest.raises(PublishError, match=f"0 keys of {role} lie in"):
            change()
    assert sorted(publisher.place.glob("metadata/*")) == before

    aside.rename(key)
    publisher.release("r2", 2)
    box = tmp_path / "box"
    assert settle(agent_of(box, publisher.place, publisher)) == "settled"
    assert present(box) == "r2"


def test_a_stick_does_as_well_as_a_server(publisher: Publisher, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    shutil.copytree(publisher.place, stick)
    agent = agent_of(tmp_path / "box", f"file://{stick}", publisher)
    assert settle(agent) == "settled"
    shutil.rmtree(stick)
    assert agent.step() == "unreachable"

    forged = tmp_path / "forged"
    shutil.copytree(publisher.place, forged)
    for path in (forged / "blobs").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert agent_of(tmp_path / "other", forged, publisher).step() == "untrusted"


def test_a_box_trusts_whom_it_was_told_to_and_nobody_else(
    publisher: Publisher, tmp_path: Path
) -> None:
    other = Publisher(tmp_path / "other").create()
    other.release("evil", 9)
    box = tmp_path / "box"
    agent = agent_of(box, other.place, publisher)
    assert agent.step() == "untrusted"
    nobody = agent_of(tmp_path / "nobody", publisher.place, None)
    assert nobody.step() == "failed"
    assert "trusts nobody yet" in str(nobody.error)
    assert agent_of(box, publisher.place, other).step() == "failed"  # another root than before


def test_a_full_disk_leaves_the_box_as_it_is(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = tmp_path / "box"
    agent = agent_of(box, publisher.place, publisher)
    settle(agent)
    publisher.release("r2", 2)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("snow_runtime.update.assemble.shutil.disk_usage", lambda _: usage)
    got = agent.status("settled").got_bytes
    assert agent.step() == "full"
    assert agent.status("full").got_bytes - got < 10_000  # it looked before it downloaded
    assert present(box) == "r1"
    monkeypatch.undo()
    assert settle(agent) == "settled"
    assert present(box) == "r2"


def test_a_disk_that_is_full_in_the_middle(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = tmp_path / "box"
    agent = agent_of(box, publisher.place, publisher)
    settle(agent)
    publisher.release("r2", 2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("snow_runtime.update.assemble.sync_all", full)
    assert agent.step() == "full"
    assert not list((box / "incoming").iterdir())
    assert [path.name.split("-")[1] for path in (box / "generations").iterdir()] == ["r1"]
    monkeypatch.undo()
    assert settle(agent) == "settled"
    assert present(box) == "r2"


def test_a_release_that_fails_its_trial_is_not_taken_up_nor_tried_again(
    publisher: Publisher, server: WebServer, tmp_path: Path
) -> None:
    tried = []

    def fails(_folder: Path, release: Release) -> None:
        tried.append(release.name)
        if release.name == "r2":
            msg = "The release r2 does not work here: a logit is off."
            raise RejectedError(msg)

    box, program = tmp_path / "box", TestProgram()
    agent = agent_of(box, server.url, publisher, try_out=fails, program=program)
    settle(agent)
    publisher.release("r2", 2)
    assert agent.step() == "failed"
    asked = len(server.asked)
    assert agent.step() == "failed"
    assert "waits for a newer one" in str(agent.error)
    assert not [path for path, _ in server.asked[asked:] if "/blobs/" in path]
    assert tried == ["r1", "r2"]
    assert present(box) == "r1"
    assert program.calls == ["switch"]
    status = json.loads((box / "status.json").read_text(encoding="utf-8"))
    assert (status["release"], status["wanted"], status["state"]) == ("r1", "r2", "failed")
    assert list(status["failed"]) == ["r2"]

    publisher.release("r3", 3)
    assert settle(agent) == "settled"
    assert present(box) == "r3"


def test_a_release_that_fails_while_it_is_watched_is_taken_back(
    publisher: Publisher, tmp_path: Path
) -> None:
    box, program = tmp_path / "box", TestProgram()
    agent = agent_of(box, publisher.place, publisher, program=program)
    settle(agent)
    publisher.release("r2", 2, watch_s=1000.0)
    assert agent.step() == "watching"
    assert present(box) == "r2"
    assert agent.step() == "watching"
    program.faults = ["the program ended by signal 11"]
    assert agent.step() == "failed"
    assert present(box) == "r1"
    assert program.calls == ["switch", "switch", "switch"]
    assert agent.step() == "failed"
    assert present(box) == "r1"
    assert agent_of(box, publisher.place, publisher).step() == "failed"  # a new process knows too
    publisher.release("r3", 3)
    assert settle(agent) == "settled"


def test_a_release_that_takes_the_machine_down_is_taken_back(
    publisher: Publisher, tmp_path: Path
) -> None:
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    publisher.release("r2", 2, watch_s=1000.0)
    assert agent_of(box, publisher.place, publisher).step() == "watching"
    found = []
    for _ in range(3):  # the process dies each time, and begins anew
        agent_of(box, publisher.place, publisher)
        found.append(present(box))
    assert found == ["r2", "r2", "r1"]
    agent = agent_of(box, publisher.place, publisher)
    assert agent.step() == "failed"
    assert "went down 3 times" in str(agent.error)


def test_a_first_release_that_fails_leaves_nothing_to_run(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.release("r2", 2, watch_s=1000.0)
    box, program = tmp_path / "box", TestProgram(faults=["it crashed"])
    agent = agent_of(box, publisher.place, publisher, program=program)
    assert agent.step() == "watching"
    assert agent.step() == "failed"
    assert present(box) is None
    assert program.calls == ["switch", "rest"]
    publisher.release("r3", 3)
    assert settle(agent) == "settled"


def test_waves_reach_boxes_by_tag_by_name_and_by_share(
    publisher: Publisher, tmp_path: Path
) -> None:
    tags = {"box-0": ["pilot"], "box-1": [], "box-2": [], "box-3": ["other"]}
    agents = {
        name: agent_of(tmp_path / name, publisher.place, publisher, name=name, tags=own)
        for name, own in tags.items()
    }

    def everyone() -> list[str | None]:
        for agent in agents.values():
            settle(agent)
        return [present(tmp_path / name) for name in agents]

    from snow_deploy.fleet.waves import go_on

    assert everyone() == ["r1"] * 4
    waves = tuple(map(parse_wave, ("tag:pilot", "box:box-2")))
    publisher.release("r2", 2, waves=waves)
    assert everyone() == ["r2", "r1", "r1", "r1"]
    publisher.wave(go_on)
    publisher.wave(pause)
    assert everyone() == ["r2", "r1", "r1", "r1"]
    publisher.wave(roll_back)
    assert everyone() == ["r1"] * 4

    publisher.release("r3", 3, waves=waves)
    assert everyone() == ["r3", "r1", "r1", "r1"]
    publisher.wave(abort)
    assert everyone() == ["r3", "r1", "r1", "r1"]
    publisher.release("r4", 4, waves=(parse_wave("100%"),))
    assert everyone() == ["r4"] * 4
    publisher.release("r5", 5, waves=(parse_wave("box:box-1"),))  # r4 has reached all
    assert everyone() == ["r4", "r5", "r4", "r4"]
    publisher.wave(roll_back)
    assert everyone() == ["r4"] * 4


def test_the_status_says_what_a_box_does(publisher: Publisher, tmp_path: Path) -> None:
    told: list[BoxStatus] = []
    agent = agent_of(tmp_path / "box", publisher.place, publisher, tags=["pilot"], tell=told.append)
    settle(agent)
    assert [each.state for each in told] == ["downloading", "trying", "watching", "settled"]
    last = told[-1]
    assert (last.box, last.tags, last.release, last.wanted) == ("box-1", ("pilot",), "r1", "r1")
    assert (last.number, last.previous, last.error) == (1, None, None)
    text = (tmp_path / "box" / "status.json").read_text(encoding="utf-8")
    assert BoxStatus.read("status", json.loads(text)) == last
    publisher.release("r2", 2)
    settle(agent)
    assert (told[-1].release, told[-1].previous) == ("r2", "r1")


def without_keys(publisher: Publisher, *kept: str) -> Publisher:
    """Leave a thief the keys of these roles; the others are another person's."""
    for path in (publisher.folder / "keys").iterdir():
        if path.name.split("-")[0] not in kept:
            path.unlink()
    return publisher


def forge(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the publisher's own checks of its keys say nothing: a thief has no such manners."""
    monkeypatch.setattr(SignedFolder, "_missing", lambda *_: 0)
    monkeypatch.setattr(SignedFolder, "check_keys", lambda *_: None)
    publisher.release("evil", 9)


@pytest.mark.parametrize("kept", [("timestamp",), ("timestamp", "snapshot")])
def test_a_stolen_timestamp_key_publishes_nothing(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: tuple[str, ...]
) -> None:
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    forge(without_keys(publisher, *kept), monkeypatch)
    assert agent_of(box, publisher.place, None).step() == "untrusted"
    assert present(box) == "r1"


def test_a_stolen_targets_key_alone_publishes_nothing(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    forge(without_keys(publisher, "targets"), monkeypatch)
    assert agent_of(box, publisher.place, None).step() == "untrusted"
    assert present(box) == "r1"


def test_a_box_has_no_key_that_signs(publisher: Publisher, tmp_path: Path) -> None:
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    for path in box.rglob("*"):
        if path.is_file():
            assert b"PRIVATE KEY" not in path.read_bytes(), path


def test_whatever_goes_wrong_the_agent_goes_on(publisher: Publisher, tmp_path: Path) -> None:
    def breaks(_folder: Path, _release: Release) -> None:
        msg = "nobody has thought of it"
        raise RuntimeError(msg)

    agent = agent_of(tmp_path / "box", publisher.place, publisher, try_out=breaks)
    assert agent.step() == "failed"
    assert agent.error == "nobody has thought of it"
    assert agent.step() == "failed"


def test_a_watch_does_not_tell_the_same_every_second(publisher: Publisher, tmp_path: Path) -> None:
    now = [0.0]
    told: list[BoxStatus] = []
    publisher.release("r2", 2, watch_s=900.0)
    agent = agent_of(
        *(tmp_path / "box", publisher.place, publisher), tell=told.append, clock=lambda: now[0]
    )
    for _ in range(905):
        agent.step()
        now[0] += 1.0
    states = [each.state for each in told]
    assert states[:3] == ["downloading", "trying", "watching"]
    assert states.count("watching") == 3  # every 300 s
    assert "settled" in states
