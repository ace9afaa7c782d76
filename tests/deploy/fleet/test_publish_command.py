"""`publish`: what it says, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.fleet.errors import PublishError
from snow_deploy.fleet.publication import Publication
from snow_deploy.fleet.wave_health import check_health
from snow_deploy.fleet.waves import parse_wave
from snow_runtime.update.rollout import Rollout, Wave, place_of
from snow_runtime.update.status import BoxStatus
from tests.deploy.fleet.publications import Publisher, agent_of, save_graph, settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

SECRET = "a secret of a test"  # noqa: S105


def call(folder: Path, *arguments: object, secret: str = SECRET) -> Result:
    given = ["publish", *map(str, arguments), "--to", str(folder / "public")]
    if arguments[0] != "show":
        given += ["--keys", str(folder / "keys")]
    return CliRunner().invoke(main, given, env={"SNOW_KEY_PASSPHRASE": secret})


@pytest.mark.parametrize(
    ("options", "secrets", "expected"),
    [
        ((), {"_ROOT": SECRET}, "The passphrase of the targets keys in SNOW_KEY_PASSPHRASE is not"),
        ((), {"": SECRET, "_TIMESTAMP": "short"}, "TIMESTAMP is too short"),
        (("--threshold", "snapshot=3"), {"": SECRET}, "3 keys of snapshot are to sign"),
        (("--keys", "file/keys"), {"": SECRET}, "cannot be written: .*another folder with --keys"),
    ],
)
def test_what_cannot_begin_leaves_no_key(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    secrets: dict[str, str],
    expected: str,
) -> None:
    """A key of a publication that there is not would lie among those of the next one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    env = {f"SNOW_KEY_PASSPHRASE{role}": secret for role, secret in secrets.items()}
    result = CliRunner().invoke(main, ["publish", "init", "--to", "public", *options], env=env)
    assert result.exit_code == 1
    assert re.search(expected, result.stderr)
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "public", ".lock"}


def test_a_key_without_rights_is_not_called_damaged(
    publisher: Publisher, unreadable: Callable[[Path], Path]
) -> None:
    (key,) = publisher.folder.glob("keys/timestamp-*")
    unreadable(key)
    result = call(publisher.folder, "refresh")
    assert result.exit_code == 1
    assert f"error: The key {key} cannot be read: [Errno 13]" in result.stderr
    assert "Allow this user to read it." in result.stderr


def test_a_publication_from_its_beginning(tmp_path: Path) -> None:
    result = call(tmp_path, "init", "--count", "root=2", "--threshold", "root=2")
    assert result.exit_code == 0, result.output
    assert "1.root.json" in result.stdout
    files = sorted((tmp_path / "keys").iterdir())
    assert [path.name.split("-")[0] for path in files] == [
        *("root", "root", "snapshot", "targets", "timestamp")
    ]
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()

    graph = save_graph(tmp_path / "snow.onnx", 1)
    given = ("--graph", graph, "--wave", "tag:pilot", "--wave", "50%")
    result = call(tmp_path, "add", "r1", *given, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["number"] == 1
    result = call(tmp_path, "show")
    assert "r1 is running, 1 of 3 waves open; the others have no release" in result.stdout
    assert call(tmp_path, "refresh").exit_code == 0
    result = call(tmp_path, "keys", "rotate", "root")
    assert result.exit_code == 0, result.output
    document = json.loads(call(tmp_path, "show", "--json").stdout)
    assert [each["name"] for each in document["releases"]] == ["r1"]
    bills = list((tmp_path / "public" / "targets" / "bills").iterdir())
    bill = json.loads(bills[0].read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "r1")
    assert "snow.onnx" in [each["name"] for each in bill["components"]]


def test_what_answers_otherwise_than_it_was_exported_is_not_published(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred boxes would fetch it, try it aside, and refuse it, each by itself."""
    damaged = save_graph(tmp_path / "damaged.onnx", 6, check=False)

    result = call(publisher.folder, "add", "r9", "--graph", damaged)

    assert result.exit_code == 1
    assert "The model does not answer as its graph did" in result.stderr
    assert "r9" not in call(publisher.folder, "show").stdout
    # a machine that only publishes needs no ONNX Runtime; it says what it has not done
    whole = save_graph(tmp_path / "whole.onnx", 7)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = call(publisher.folder, "add", "r9", "--graph", whole)
    assert result.exit_code == 0, result.output
    assert "whole.onnx was not tried: ONNX Runtime is not installed" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "r1", "--graph", "snow.onnx"), "is published already"),
        (("add", "../r", "--graph", "snow.onnx"), "is no name of a release"),
        (("add", "r2", "--graph", "keys"), "is a directory"),
        (("add", "r2", "--graph", "passphrase"), "is no complete, valid ONNX graph"),
        (("add", "r2", "--graph", "snow.onnx", "--readout", "passphrase"), "is no readout"),
        (("add", "r2", "--graph", "snow.onnx", "--wave", "some"), "is no wave"),
        (("wave", "pause"), "The rollout is done"),
        (("init",), "is a publication already"),
        (("refresh", "--role", "mirror"), "is not one of"),
    ],
)
def test_what_cannot_be_published(
    published: Publisher,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(published.folder)
    result = call(published.folder, *arguments)
    assert result.exit_code != 0
    assert message in result.output


def test_a_wrong_passphrase_and_none(published: Publisher) -> None:
    for secret, message in (("another secret", "cannot be opened"), ("", "is not there")):
        result = call(published.folder, "refresh", secret=secret)
        assert result.exit_code == 1
        assert message in result.output


def test_no_passphrase_is_seen(published: Publisher) -> None:
    """Neither in a file that is served, nor in the keys."""
    found = subprocess.run(
        ["grep", "-rlF", SECRET, "public", "keys"],
        cwd=published.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (1, "")


def test_a_release_waits_for_the_one_that_is_on_its_way(publisher: Publisher) -> None:
    publisher.release("r2", 2, waves=(parse_wave("tag:pilot"),))
    with pytest.raises(PublishError, match=r"r2 is on its way \(1 of 2 waves\)"):
        publisher.release("r3", 3)


def test_the_next_wave_waits_for_the_boxes(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("r2", 2, waves=(parse_wave("tag:pilot"),))
    boxes = tmp_path / "boxes"
    agent = agent_of(boxes / "1", publisher.place, publisher, tags=["pilot"])
    result = call(publisher.folder, "wave", "next")
    assert result.exit_code == 2
    assert "give --status" in result.output
    (boxes / "statuses").mkdir()
    given = ("wave", "next", "--status", boxes / "statuses")
    assert "no box of the open waves" in call(publisher.folder, *given).output
    settle(agent)
    text = (boxes / "1" / "status.json").read_text(encoding="utf-8")
    (boxes / "statuses" / "1.json").write_text(text, encoding="utf-8")
    result = call(publisher.folder, *given)
    assert result.exit_code == 0, result.output
    assert "2 of 2 waves open" in result.stdout


def status(**more: Any) -> BoxStatus:
    now = datetime.now(timezone.utc).isoformat()
    given = {"format": 1, "box": "b", "state": "settled", "written": now, "every_s": 300.0}
    return BoxStatus(**{**given, "release": "r2", **more})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"release": "r1", "failed": {"r2": "it crashed"}}, r"b has r1 \(it crashed\)"),
        ({"release": None}, "b has no release"),
        ({"state": "watching"}, "b still watches it"),
        ({"state": "failed"}, "b is failed"),
        ({"state": "untrusted"}, "b is untrusted"),
        (
            {"written": (datetime.now(timezone.utc) + timedelta(days=900)).isoformat()},
            "the clock of b is ahead",
        ),
        (
            {"written": (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()},
            "said nothing since",
        ),
    ],
)
def test_a_box_that_does_not_do_well_holds_up_the_next_wave(
    more: dict[str, Any], message: str
) -> None:
    rollout = Rollout(1, "r1", "r2", (Wave(share=1.0),), 1, "running")
    check_health(rollout, [status()])
    with pytest.raises(PublishError, match=message):
        check_health(rollout, [status(box="well"), status(**more)])


def test_shares_are_shares() -> None:
    places = [place_of(f"box-{number}") for number in range(2000)]
    for share in (0.01, 0.1, 0.5):
        count = sum(Wave(share=share).has(f"box-{number}", ()) for number in range(2000))
        assert abs(count / 2000 - share) < 0.03
    assert min(places) >= 0
    assert max(places) < 1
    assert all(Wave(share=1.0).has(f"box-{number}", ()) for number in range(100))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[cameras.door]\naddress = "rtsp://admin:hunter22@10.0.0.9/x"', "cameras.door.address"),
        ('[mqtt]\nurl = "mqtt://box:hunter22@broker"', "mqtt.url"),
        ('[webhook]\nheaders = ["Authorization: Bearer hunter22"]', "webhook.headers"),
        ('[page]\ntoken = "hunter22"', "page.token"),
        ('[cameras.door]\naddress = "rtsp://10.0.0.9/x"\npassword = "hunter22"', "door.password"),
        ("no toml", "is no configuration file"),
    ],
)
def test_a_configuration_with_a_secret_is_not_published(
    published: Publisher, tmp_path: Path, text: str, where: str
) -> None:
    config, graph = tmp_path / "box.toml", published.folder / "snow.onnx"
    config.write_text(text, encoding="utf-8")
    result = call(published.folder, "add", "r9", "--graph", graph, "--config", config)
    assert result.exit_code == 1
    assert where in result.output
    assert "hunter22" not in result.output


def test_a_configuration_that_names_its_secrets_comes_along(
    publisher: Publisher, tmp_path: Path
) -> None:
    config = tmp_path / "box.toml"
    config.write_text(
        '[cameras.door]\naddress = "rtsp://admin:{env:DOOR}@10.0.0.9/x"\n'
        '[webhook]\nheaders = ["Authorization: Bearer {env:TOKEN}", "Accept: text/plain"]\n',
        encoding="utf-8",
    )
    publisher.release("r2", 2, config=config)
    settle(agent_of(tmp_path / "box", publisher.place, publisher))
    assert (tmp_path / "box" / "current" / "box.toml").read_bytes() == config.read_bytes()


def test_boxes_that_never_told_anything_hold_up_the_next_wave() -> None:
    waves = (Wave(boxes=("b", "gone")), Wave(share=1.0))
    rollout = Rollout(1, "r1", "r2", waves, 1, "running")
    with pytest.raises(PublishError, match="1 of 2 boxes do not do well: gone has never told"):
        check_health(rollout, [status()])
    check_health(rollout, [status(), status(box="gone")])
    whole = Rollout(1, "r1", "r2", waves, 2, "running")
    told = [status(), status(box="gone")]
    check_health(whole, told, expected={"b": ()})
    with pytest.raises(PublishError, match="third has never told"):
        check_health(whole, told, expected={"b": (), "third": ()})


def test_boxes_of_a_tag_are_waited_for_too() -> None:
    rollout = Rollout(1, "r1", "r2", (Wave(tags=("pilot",)), Wave(share=1.0)), 1, "running")
    told = [status(tags=("pilot",))]
    everybody = {"b": ("pilot",), "near": ("pilot",), "far": ("south",)}
    check_health(rollout, told, expected={"b": ("pilot",), "far": ("south",)})
    with pytest.raises(PublishError, match="1 of 2 boxes do not do well: near has never told"):
        check_health(rollout, told, expected=everybody)
    with pytest.raises(PublishError, match="its tags neither"):
        check_health(rollout, told, expected={"b": (), "near": ()})


def test_a_change_that_was_cut_short_is_finished_first(
    published: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut between two files: boxes do not see the newest targets yet."""

    def cut(*_: object) -> None:
        msg = "the power"
        raise OSError(msg)

    with monkeypatch.context() as power:
        power.setattr(Publication, "write_snapshot", cut)
        with pytest.raises(OSError, match="the power"):
            published.wave(lambda rollout: rollout)
    result = call(published.folder, "wave", "resume")
    assert result.exit_code == 1
    assert "A change was cut short" in result.output
    assert call(published.folder, "refresh", "--role", "snapshot").exit_code == 0
    assert "The rollout is done" in call(published.folder, "wave", "resume").output


def test_a_graph_of_another_name_is_not_published(publisher: Publisher, tmp_path: Path) -> None:
    """Boxes would load it as something else."""
    graph = save_graph(tmp_path / "snow.onnx", 3).rename(tmp_path / "snow.engine")
    with pytest.raises(PublishError, match=r"ends with \.onnx"):
        publisher.release("r2", graph=graph)


def test_a_passphrase_file_that_is_none(published: Publisher, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff" * 20)
    (tmp_path / "windows").write_bytes(SECRET.encode() + b"\r\nmore")
    for name, code in (("binary", 1), ("nothing", 1), ("windows", 0)):
        result = call(published.folder, "refresh", "--passphrase-file", tmp_path / name, secret="")
        assert result.exit_code == code, result.output
        assert code == 0 or "cannot be read" in result.output


def test_the_bill_is_what_cyclonedx_takes_it_for(publisher: Publisher) -> None:
    """By CycloneDX's own schema, where its validator is installed."""
    pytest.importorskip("jsonschema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    bills = list((publisher.place / "targets" / "bills").iterdir())
    assert bills
    for path in bills:
        text = path.read_text(encoding="utf-8")
        assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
        hashes = {each["name"]: each.get("hashes") for each in json.loads(text)["components"]}
        graph = publisher.folder / "snow.onnx"
        content = hashlib.sha256(graph.read_bytes()).hexdigest()
        assert hashes["snow.onnx"] == [{"alg": "SHA-256", "content": content}]
