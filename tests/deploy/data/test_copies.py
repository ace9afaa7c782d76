from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_deploy.data.copies import KnownFiles

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "known.png").write_bytes(b"a picture")
    (tmp_path / "renamed.jpg").write_bytes(b"a picture")
    (tmp_path / "as long.png").write_bytes(b"a pencil.")
    (tmp_path / "other.png").write_bytes(b"another picture")
    (tmp_path / "link.png").symlink_to(tmp_path / "known.png")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "known.png")
    (tmp_path / "nothing.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "folder").symlink_to(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("known.png", True),
        ("renamed.jpg", True),
        ("link.png", True),
        ("hard.png", True),
        ("folder/known.png", True),
        ("as long.png", False),
        ("other.png", False),
        ("nothing.png", False),
        ("absent.png", False),
    ],
)
def test_a_file_is_known_by_place_or_by_content(files: Path, name: str, expected: bool) -> None:
    known = KnownFiles([str(files / "known.png"), "demo-train-seed0-32px/4"])

    assert known.has(str(files / name)) is expected


def test_a_name_that_is_no_file_is_no_copy() -> None:
    known = KnownFiles(["demo-train-seed0-32px/4"])

    assert not known.has("demo-train-seed0-32px/4")
