"""What thieves of keys leave behind: boxes follow the new keys all the same."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from snow_deploy.fleet.errors import PublishError
from snow_deploy.fleet.publication import Publication
from snow_deploy.fleet.signed_folder import SignedFolder
from snow_runtime.update.box import Box
from snow_runtime.update.floor import Floor, moment
from snow_runtime.update.signed import ISSUED
from tests.deploy.fleet.publications import agent_of, present, settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.deploy.fleet.publications import Publisher

FAR: int = 2**40


def sign_forward(publisher: Publisher, role: str, change: Callable[[Any], None]) -> None:
    """Sign a role's metadata with a change that no publisher makes."""
    signed = publisher.publication.signed
    metadata = signed.newest(role)
    change(metadata.signed)
    metadata.signatures.clear()
    for signer in publisher.publication.signing.keys.signers(
        role, signed.root().roles[role].keyids
    ):
        metadata.sign(signer, append=True)
    signed._write_newest(role, metadata)


def fast_forward(signed: Any) -> None:
    signed.version = FAR


def test_a_version_far_ahead_counts_no_more_with_new_keys(
    publisher: Publisher, tmp_path: Path
) -> None:
    """The highest version there is, signed by a thief, does not lock the publisher out for ever."""
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    stolen = publisher.copy(tmp_path / "stolen")
    sign_forward(stolen, "timestamp", fast_forward)
    assert agent_of(box, stolen.place, None).step() == "settled"
    assert Box(box).state().floor.timestamp == FAR
    publisher.release("r2", 2)
    assert agent_of(box, publisher.place, None).step() == "untrusted"

    publisher.publication.rotate("timestamp")
    assert settle(agent_of(box, publisher.place, None)) == "settled"
    assert present(box) == "r2"
    assert Box(box).state().floor.timestamp < FAR
    assert agent_of(box, stolen.place, None).step() == "untrusted"  # and the thief's is out


def test_a_moment_far_ahead_is_refused_or_forgotten(publisher: Publisher, tmp_path: Path) -> None:
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    stolen = publisher.copy(tmp_path / "stolen")

    def signed_in(days: int, **more: Any) -> None:
        def change(signed: Any) -> None:
            signed.version += 1
            signed.expires = datetime.now(timezone.utc) + timedelta(days=days + 30)
            issued = datetime.now(timezone.utc) + timedelta(days=days)
            signed.unrecognized_fields[ISSUED] = more.get("issued", issued.isoformat())

        sign_forward(stolen, "timestamp", change)

    signed_in(4000)  # when targets and snapshot have ended: it contradicts itself
    agent = agent_of(box, stolen.place, None)
    assert agent.step() == "untrusted"
    assert "is past" in str(agent.error)
    for nonsense in (5, "soon", "2026-01-01", "0001-01-01T00:00:00+23:59"):
        signed_in(1, issued=nonsense)
        assert agent_of(box, stolen.place, None).step() == "untrusted"
    signed_in(300)
    assert agent_of(box, stolen.place, None).step() == "settled"
    publisher.publication.refresh()
    for _ in range(8):
        publisher.publication.refresh()
    agent = agent_of(box, publisher.place, None)
    assert agent.step() == "untrusted"  # for this box it is next year
    publisher.publication.rotate("timestamp")
    assert agent_of(box, publisher.place, None).step() == "settled"


def test_one_more_key_keeps_the_floor() -> None:
    class Role:
        def __init__(self, threshold: int, *keys: str) -> None:
            self.threshold, self.keyids = threshold, list(keys)

    floor = Floor(7, 6, 5, "2026-01-01T00:00:00+00:00", ("a", "b"), ("c",))
    same = {"timestamp": Role(1, "a", "b"), "snapshot": Role(1, "c")}
    assert floor.under(same) == floor
    assert floor.under({**same, "timestamp": Role(1, "b", "x")}) == floor
    assert floor.under({**same, "timestamp": Role(2, "b", "x")}) == Floor()
    assert floor.under({**same, "snapshot": Role(1, "d")}) == Floor()
    old = Floor(7, 6, 5)  # of a box that noted no keys
    assert old.under({**same, "snapshot": Role(1, "d")}) == old


def test_a_root_that_expired_counts_no_more_whatever_the_clock(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.deploy.fleet.test_updates import set_clock

    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    past = datetime.now(timezone.utc) - timedelta(days=731)
    old = publisher.publication
    Publication(old.folder, replace(old.signing, now=past)).refresh(("root",))
    publisher.publication.refresh()
    set_clock(monkeypatch, -20)
    agent = agent_of(box, publisher.place, None)
    assert agent.step() == "untrusted"
    assert "is past" in str(agent.error)


def test_who_has_server_and_keys_can_hold_back_the_new_root(
    publisher: Publisher, tmp_path: Path
) -> None:
    """As the threat table says: until the root that the box knows ends."""
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    stolen = publisher.copy(tmp_path / "stolen")
    for role in ("targets", "snapshot", "timestamp"):
        publisher.publication.rotate(role)
    stolen.release("evil", 9)
    assert settle(agent_of(box, stolen.place, None)) == "settled"
    assert present(box) == "evil"
    # Whatever it signed meanwhile: once the box sees the new root, the publisher is back.
    publisher.release("r2", 2)
    assert settle(agent_of(box, publisher.place, None)) == "settled"
    assert present(box) == "r2"


def test_a_document_that_is_too_large_is_not_downloaded(
    publisher: Publisher, tmp_path: Path
) -> None:
    def large(signed: Any) -> None:
        signed.version += 1
        signed.targets["rollout.json"].length = 1 << 30

    sign_forward(publisher, "targets", large)
    publisher.publication.write_snapshot()
    agent = agent_of(tmp_path / "box", publisher.place, publisher)
    assert agent.step() == "untrusted"
    assert "expected a SHA-256 and at most" in str(agent.error)


def test_a_publisher_whose_clock_goes_back_is_stopped(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publication = publisher.publication
    publication.check_clock()
    behind = datetime.now(timezone.utc) - timedelta(days=3)
    with pytest.raises(PublishError, match="keys rotate timestamp"):
        Publication(publication.folder, replace(publication.signing, now=behind)).check_clock()
    monkeypatch.setattr(SignedFolder, "now", property(lambda _: behind))
    with pytest.raises(PublishError, match="Set the clock"):
        publisher.publication.check_clock()


def test_a_file_that_is_no_root_is_not_trusted_for_ever(
    publisher: Publisher, tmp_path: Path
) -> None:
    box = tmp_path / "box"
    metadata = publisher.place / "metadata"
    for wrong in (metadata / "timestamp.json", metadata / "1.targets.json", __file__):
        root = tmp_path / "1.root.json"
        shutil.copy(wrong, root)
        with pytest.raises(Exception, match="is no root of a publication"):
            Box(box).root(root)
    assert settle(agent_of(box, publisher.place, publisher)) == "settled"
    # The file was for the first time: that it is gone, or the stick it lay on, changes nothing.
    assert Box(box).root(tmp_path / "gone") == (metadata / "1.root.json").read_bytes()


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_moments_beyond_time_are_none(text: str) -> None:
    with pytest.raises(Exception, match="a moment in UTC"):
        moment("written", text)
