from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_deploy.data import open_data, parse_spec
from snow_deploy.data.spec import DataSpec
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from tests.deploy.data.conftest import WritePictures

KINDS = ["imagefolder", "food101", "dtd", "stanfordcars", "cub200", "stanford40"]
words = st.text(min_size=1)


@settings(deadline=None)
@given(kind=st.sampled_from(KINDS), location=words)
def test_a_location_is_taken_as_it_is(kind: str, location: str) -> None:
    assert parse_spec(f"{kind}:{location}") == DataSpec(kind, location, {})


@settings(deadline=None)
@given(
    question=st.text(min_size=1).filter(lambda text: "?" not in text),
    options=st.dictionaries(words, st.text(), min_size=1),
)
def test_options_survive_being_written_and_read(question: str, options: dict[str, str]) -> None:
    assert parse_spec(f"demo:{question}?{urlencode(options)}") == DataSpec(
        "demo", question, options
    )


@settings(deadline=None)
@given(spec=st.text())
def test_any_text_is_either_read_or_refused(spec: str) -> None:
    try:
        parsed = parse_spec(spec)
    except DataError as error:
        assert "expected" in str(error)  # noqa: PT017 - most texts are refused, not all
    else:
        assert parsed.kind in [*KINDS, "csv", "demo"]
        assert parsed.location


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("photos", '"photos" names no known kind .* imagefolder:PATH, .*demo:QUESTION'),
        ("imagenet:/data", "names no known kind"),
        ("", "names no known kind"),
        ("imagefolder:", 'names nothing after "imagefolder:"'),
        ("demo:", 'names nothing after "demo:"'),
        ("demo:?size=64", 'names nothing after "demo:"'),
        ("demo:shape?size", "Cannot read the options"),
        ("demo:shape?size=64&&seed=1", "Cannot read the options"),
        ("demo:shape?size=64&size=32", "gives an option twice"),
        ("demo:shape?colour=1", "has no option colour, expected some of train, test, size, seed"),
        ("demo:size", r'no demo data "size", expected one of demo:shape'),
    ],
)
def test_a_spec_that_cannot_be_used_is_explained(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_data(spec)


@pytest.mark.parametrize("kind", ["csv", *(kind for kind in KINDS if kind != "stanfordcars")])
def test_every_kind_leads_to_its_reader(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="missing"):
        open_data(f"{kind}:{tmp_path / 'missing'}")


def test_the_seed_reaches_the_split(tmp_path: Path, write_pictures: WritePictures) -> None:
    write_pictures(tmp_path, *(f"{name}/{i}.png" for name in "ab" for i in range(10)))
    chosen = {
        tuple(test.name(i) for i in range(len(test)))
        for seed in range(5)
        for test in [open_data(f"imagefolder:{tmp_path}", seed=seed).final[1]]
    }
    assert len(chosen) > 1


def test_the_home_folder_has_its_short_name(
    tmp_path: Path, write_pictures: WritePictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_pictures(tmp_path / "photos?", *(f"{name}/{i}.png" for name in "ab" for i in range(2)))
    assert open_data("imagefolder:~/photos?").labels == ("a", "b")


def test_a_demo_takes_its_options() -> None:
    splits = open_data("demo:digit?train=20&test=10&size=32&seed=3", seed=9)
    name, pictures = splits.final
    assert (len(splits.train), name, len(pictures)) == (20, "test", 10)
    assert splits.train.load(0).size == (32, 32)


def test_a_disk_that_fails_amid_a_listing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").write_bytes(b"")

    def stale(_: Path) -> bool:
        raise OSError(errno.ESTALE, "Stale file handle", str(tmp_path / "cat" / "1.jpg"))

    monkeypatch.setattr(Path, "is_file", stale)
    with pytest.raises(DataError, match=r"cannot be read: .*1\.jpg: Stale file handle\. Check acc"):
        open_data(f"imagefolder:{tmp_path}")
