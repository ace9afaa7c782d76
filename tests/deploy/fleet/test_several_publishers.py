"""Several people who sign, and publications that older releases are taken off."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.fleet.errors import NotSignedYetError, PublishError
from snow_deploy.fleet.keys import KeyFolders, Signing
from snow_deploy.fleet.prune import prune
from snow_deploy.fleet.publication import Publication
from snow_deploy.fleet.signatures import sign, waiting
from snow_deploy.fleet.waves import parse_wave
from tests.deploy.fleet.publications import Publisher, agent_of, present, save_graph, settle
from tests.deploy.fleet.web_server import WebServer

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

SECRET = "a secret of a test"  # noqa: S105


class Team:
    """Ann and Bob sign releases together; the rest is a machine's. Root takes both, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.call("init", "--keys", "all", "--count", "targets=2", "--threshold", "targets=2",
                  "--count", "root=2", "--threshold", "root=2")  # fmt: skip
        for role in ("targets", "root"):
            for path, name in zip(
                sorted((folder / "all").glob(f"{role}-*")), ("ann", "bob"), strict=True
            ):
                (folder / name).mkdir(exist_ok=True)
                path.rename(folder / name / path.name)
        (folder / "all").rename(folder / "machine")

    def call(self, *arguments: object) -> Result:
        given = ["publish", *map(str, arguments), "--to", str(self.folder / "public")]
        keys = [str(self.folder / it) if given[at] == "--keys" else it
                for at, it in enumerate(given[1:])]  # fmt: skip
        secret = {"SNOW_KEY_PASSPHRASE": SECRET}
        return CliRunner().invoke(main, [given[0], *keys], env=secret)

    def publication(self, *people: str, draft: bool = False) -> Publication:
        secret = self.folder / "passphrase"
        secret.write_text(SECRET, encoding="utf-8")
        keys = KeyFolders(tuple(self.folder / name for name in people), secret)
        return Publication(self.folder / "public", Signing(keys, draft=draft))

    def box(self, name: str = "box") -> Any:
        publisher = Publisher(self.folder)
        return agent_of(self.folder / name, publisher.place, publisher)


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


def test_a_release_takes_two_people(team: Team) -> None:
    graph = save_graph(team.folder / "snow.onnx", 1)
    add = ("add", "r1", "--watch", 0, "--graph", graph, "--keys")
    result = team.call(*add, "ann")
    assert result.exit_code == 1
    assert "expected 2 that may sign" in result.output
    result = team.call(*add, "ann", "--draft")
    assert result.exit_code == 0, result.output
    assert "targets wait for one more signature" in result.stdout
    assert settle(team.box()) == "settled"
    assert present(team.folder / "box") is None  # nothing is published yet

    result = team.call("show")
    assert "waits for 1 more to sign" in result.stdout
    assert "releases/r1.json is new" in result.stdout
    assert "rollout: running, coming r1" in result.stdout
    result = team.call("sign", "--keys", "ann")  # not twice
    assert result.exit_code == 1
    assert "has still to sign" in result.output
    result = team.call("sign", "--keys", "bob")
    assert result.exit_code == 0, result.output
    assert "the targets are signed" in result.stdout
    assert "refresh --role snapshot" in result.stdout  # Bob has no such key
    assert team.call("refresh", "--role", "snapshot", "--keys", "machine").exit_code == 0
    assert settle(team.box()) == "settled"
    assert present(team.folder / "box") == "r1"
    assert "Nothing waits" in team.call("sign", "--keys", "bob").output


def test_whoever_has_the_other_keys_too_publishes_at_once(team: Team) -> None:
    graph = save_graph(team.folder / "snow.onnx", 1)
    team.call("add", "r1", "--watch", 0, "--graph", graph, "--keys", "ann", "--draft")
    publication = team.publication("bob", "machine")
    assert sign(publication) == ["the targets are signed"]
    assert waiting(publication) == []
    assert settle(team.box()) == "settled"


def test_what_waits_is_dropped_or_overtaken(team: Team) -> None:
    graph = save_graph(team.folder / "snow.onnx", 1)
    draft = ("add", "r1", "--graph", graph, "--keys", "ann", "--draft")
    team.call(*draft)
    result = team.call("add", "r2", *draft[2:])
    assert result.exit_code == 1
    assert "Other targets wait" in result.output
    waits = team.folder / "public" / "publisher" / "waiting" / "targets.json"
    content = waits.read_bytes()
    assert "nothing waits" in team.call("sign", "--discard").stdout
    everybody = ("--keys", "ann", "--keys", "bob", "--keys", "machine")
    assert team.call("add", "r3", "--graph", graph, *everybody).exit_code == 0
    waits.write_bytes(content)
    result = team.call("sign", "--keys", "bob")
    assert result.exit_code == 1
    assert "is there by now" in result.output
    waits.write_bytes(b"{}")
    assert "is damaged" in team.call("show").output


def test_a_file_that_was_swapped_meanwhile_is_not_signed(team: Team) -> None:
    graph = save_graph(team.folder / "snow.onnx", 1)
    team.call("add", "r1", "--graph", graph, "--keys", "ann", "--draft")
    (document,) = (team.folder / "public" / "targets" / "releases").iterdir()
    document.write_bytes(document.read_bytes() + b" ")
    result = team.call("sign", "--keys", "bob")
    assert result.exit_code == 1
    assert "is not what was published" in result.output


def test_a_signature_that_is_none_does_not_count(team: Team) -> None:
    graph = save_graph(team.folder / "snow.onnx", 1)
    team.call("add", "r1", "--graph", graph, "--keys", "ann", "--draft")
    waits = team.folder / "public" / "publisher" / "waiting" / "targets.json"
    document = json.loads(waits.read_text(encoding="utf-8"))
    (signature,) = document["signatures"]
    bob = team.publication("bob")
    keys = bob.root().roles["targets"].keyids
    other = next(key for key in keys if key != signature["keyid"])
    document["signatures"].append({"keyid": other, "sig": signature["sig"]})
    waits.write_text(json.dumps(document), encoding="utf-8")
    assert waiting(bob)[0].missing == 1
    assert sign(team.publication("bob", "machine")) == ["the targets are signed"]


def test_keys_are_rotated_by_two_people(team: Team) -> None:
    graph = save_graph(team.folder / "snow.onnx", 1)
    everybody = ("--keys", "ann", "--keys", "bob", "--keys", "machine")
    team.call("add", "r1", "--watch", 0, "--graph", graph, *everybody)
    assert settle(team.box()) == "settled"
    before = len(list((team.folder / "machine").iterdir()))
    result = team.call("keys", "rotate", "timestamp", "--keys", "machine", "--keys", "ann")
    assert result.exit_code == 1
    assert len(list((team.folder / "machine").iterdir())) == before  # no key for nothing
    rotate = ("keys", "rotate", "timestamp", "--keys", "machine", "--keys", "ann", "--draft")
    assert "root wait for one more" in team.call(*rotate).stdout
    assert team.box().step() == "settled"  # the old one counts still
    result = team.call("sign", "--keys", "bob", "--keys", "machine")
    assert result.exit_code == 0, result.output
    assert "timestamp gets the keys" in result.stdout
    assert team.box().step() == "settled"
    floor = team.box().state.floor
    assert list(floor.timestamp_keys) == team.publication().root().roles["timestamp"].keyids


def test_a_draft_says_that_it_waits(team: Team) -> None:
    publication = team.publication("ann", draft=True)
    with pytest.raises(NotSignedYetError, match="one more signature"):
        publication.publish({"x.json": b"{}"})
    with pytest.raises(PublishError, match="are not to go"):
        prune(publication, 1)


def served(publisher: Publisher) -> set[str]:
    return {path.name for path in (publisher.place / "blobs").iterdir()}


def test_older_releases_go_with_what_only_they_need(publisher: Publisher, tmp_path: Path) -> None:
    for number in (2, 3, 4):
        publisher.release(f"r{number}", number)
    before = served(publisher)
    (publisher.place / "blobs" / ("0" * 64)).write_bytes(b"of a release that was never finished")
    done = prune(publisher.publication, 2)
    assert done.names == ("r2", "r1")
    assert [each.name for each in publisher.publication.releases()] == ["r4", "r3"]
    assert served(publisher) < before
    names = [path.name for path in (publisher.place / "publisher").glob("*.json")]
    assert sorted(names) == ["r3.json", "r4.json"]
    assert len(list((publisher.place / "metadata").glob("*.targets.json"))) == 3
    assert (publisher.place / "metadata" / "1.root.json").exists()
    assert len(list((publisher.place / "targets" / "bills").iterdir())) == 2
    assert prune(publisher.publication, 2).files <= 2  # versions of metadata alone
    assert settle(agent_of(tmp_path / "box", publisher.place, publisher)) == "settled"
    assert present(tmp_path / "box") == "r4"
    save_graph(publisher.folder / "snow.onnx", 2)  # as a release that was pruned
    publisher.release("r5", 2)
    assert settle(agent_of(tmp_path / "box", publisher.place, publisher)) == "settled"
    assert settle(agent_of(tmp_path / "new", publisher.place, publisher)) == "settled"


def test_what_boxes_are_to_have_stays(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("r2", 2)
    publisher.release("r3", 3, waves=(parse_wave("box:box-9"),))
    assert prune(publisher.publication, 1).names == ("r1",)
    for name, release in (("box-1", "r2"), ("box-9", "r3")):
        agent = agent_of(tmp_path / name, publisher.place, publisher, name=name)
        assert settle(agent) == "settled"
        assert present(tmp_path / name) == release


def test_a_box_that_is_halfway_goes_on(publisher: Publisher, tmp_path: Path) -> None:
    """Its release goes while it downloads it: it looks again, and takes the newer one."""
    box = tmp_path / "box"
    with WebServer(publisher.place) as server:
        server.faults.cut_after = 30_000
        agent = agent_of(box, server.url, publisher)
        assert agent.step() == "unreachable"
        for number in (2, 3):
            publisher.release(f"r{number}", number)
        prune(publisher.publication, 1)
        rounds = 0
        while settle(agent) != "settled":
            rounds += 1
            assert rounds < 20
    assert present(box) == "r3"
    assert not list((box / "incoming").iterdir())


def test_files_that_go_within_a_round_are_looked_for_again(
    publisher: Publisher, tmp_path: Path
) -> None:
    box = tmp_path / "box"
    agent = agent_of(box, publisher.place, publisher)
    settle(agent)
    publisher.release("r2", 2)
    gone: list[str] = []
    read = agent._transport.read

    def pruned(path: str, offset: int = 0) -> Any:
        if path.startswith("blobs/") and not gone:
            gone.append(path)
            publisher.release("r3", 3)
            prune(publisher.publication, 1)
        yield from read(path, offset)

    agent._transport.read = pruned  # type: ignore[method-assign]
    assert agent.step() == "unreachable"
    assert present(box) == "r1"
    assert settle(agent) == "settled"
    assert present(box) == "r3"


def test_prune_as_a_command(publisher: Publisher) -> None:
    publisher.release("r2", 2)
    given = ["publish", "prune", "--to", str(publisher.place), "--keep", "1"]
    keys = ["--keys", str(publisher.folder / "keys")]
    env = {"SNOW_KEY_PASSPHRASE": SECRET}
    assert CliRunner().invoke(main, [*given[:-1], "0", *keys], env=env).exit_code == 2
    result = CliRunner().invoke(main, [*given, *keys, "--json"], env=env)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["releases"] == ["r1"]
    result = CliRunner().invoke(main, [*given, *keys], env=env)
    assert "taken off: no release" in result.stdout


def test_keys_do_not_lie_where_they_are_served(tmp_path: Path) -> None:
    for keys in ("public/keys", "public", "link"):
        (tmp_path / "public").mkdir(exist_ok=True)
        if not (tmp_path / "link").exists():
            (tmp_path / "link").symlink_to(tmp_path / "public")
        given = ["publish", "init", "--to", str(tmp_path / "public")]
        result = CliRunner().invoke(
            main, [*given, "--keys", str(tmp_path / keys)], env={"SNOW_KEY_PASSPHRASE": SECRET}
        )
        assert result.exit_code == 1
        assert "which is served" in result.output
    assert not list((tmp_path / "public").iterdir())


@pytest.mark.parametrize(
    "option", [("--days", "root=99999999"), ("--count", "root=1000"), ("--days", "root=0")]
)
def test_numbers_out_of_range(tmp_path: Path, option: tuple[str, str]) -> None:
    given = ["publish", "init", "--to", str(tmp_path / "public"), *option]
    result = CliRunner().invoke(main, given, env={"SNOW_KEY_PASSPHRASE": SECRET})
    assert result.exit_code == 2
    assert "a number from 1 to" in result.output


def test_a_damaged_blob_is_written_anew(publisher: Publisher, tmp_path: Path) -> None:
    """A change against what nobody has, or a file of the right size, would be refused for ever."""
    blobs = publisher.place / "blobs"
    for path in blobs.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    publisher.release("r2", 1, graph=save_graph(publisher.folder / "snow.onnx", 2, source=5))
    assert settle(agent_of(tmp_path / "box", publisher.place, publisher)) == "settled"
    shutil.rmtree(blobs)
    blobs.mkdir()
    publisher.release("r3", 1, graph=publisher.folder / "snow.onnx")
    assert settle(agent_of(tmp_path / "new", publisher.place, publisher)) == "settled"
