"""The guide's configuration, its service, and the keys of the reference."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.cli.config_tables import option_keys
from snow_deploy.cli.run import command as run_command
from tests.docs.blocks import GUIDE, ROOT, blocks_of

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / GUIDE / "configuration.md"
QUESTIONS = ROOT / GUIDE / "questions.md"
COLLECTING = ROOT / GUIDE / "collecting.md"
REFERENCE = ROOT / "docs" / "reference" / "configuration.md"


def block(language: str, page: Path = PAGE) -> str:
    found = blocks_of(page.read_text(encoding="utf-8"), page)
    (text,) = (each.text for each in found if each.language == language)
    return text


@pytest.mark.parametrize("page", [PAGE, QUESTIONS, COLLECTING], ids=lambda page: str(page.stem))
def test_the_example_is_right(tmp_path: Path, page: Path) -> None:
    path = tmp_path / "snow.toml"
    path.write_text(block("toml", page), encoding="utf-8")
    result = CliRunner().invoke(main, ["config", "check", str(path)])
    assert result.exit_code == 0, result.output


def test_the_reference_names_the_option_of_each_key() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    options = {str(each.name): each.opts[-1] for each in run_command.params}
    for name, key in option_keys().items():
        option = "MODEL" if name == "model" else options[name]
        row = re.compile(rf"^\| `{key.rpartition('.')[2]}` \| [^|]+ \| `{option}` \|", re.MULTILINE)
        assert row.search(text), (key, option)


def test_systemd_takes_the_service(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "snow.service"
    # What the box has and this machine has not: the program and its user.
    text = block("ini").replace("/opt/snow/bin/snow-deploy", "/bin/true")
    unit.write_text(text.replace("User=snow", "User=root"), encoding="utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in verified.stderr.splitlines() if "snow.service" in line]
    assert verified.returncode == 0, verified.stderr
    assert not said
