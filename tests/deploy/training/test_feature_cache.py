"""Features of pictures on the disk: found again, computed anew, refused where damaged."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from snow_deploy.data.hold_out import part_of
from snow_deploy.errors import DataError, SourceError, StoreError, TrainingError
from snow_deploy.models.fold_source import tap_key
from snow_deploy.models.source import Source
from snow_deploy.training import feature_cache
from snow_deploy.training.feature_blocks import read_blocks, write_block
from snow_deploy.training.feature_cache import FeatureCache, View, picture_key
from snow_deploy.training.store import Store
from snow_runtime.errors import InputError
from snow_runtime.graph.manifest import Preprocessing
from snow_runtime.pictures.preprocessing import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_deploy.data.pictures import Pictures
    from tests.conftest import RandomWeights

    Opening = Callable[[], FeatureCache]

SIZE = 32
PREPROCESSING = Preprocessing.for_size(SIZE)
CROP = View(1, 0, 0.5)


@dataclass(frozen=True)
class Files:
    """Pictures in files; notes what is opened, and may be told to open none."""

    paths: tuple[Path, ...]
    targets: tuple[int, ...]
    labels: tuple[str, ...] = ("a", "b")
    opened: list[int] = field(default_factory=list)
    shut: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    def target(self, index: int) -> int:
        return self.targets[index]

    def name(self, index: int) -> str:
        return str(self.paths[index])

    def load(self, index: int) -> Image.Image:
        assert not self.shut, "a picture was opened"
        self.opened.append(index)
        try:
            return Image.open(self.paths[index]).convert("RGB")
        except OSError as error:
            raise InputError(self.name(index)) from error


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((48, 40)).save(path)


@pytest.fixture(scope="module")
def source(random_weights: RandomWeights) -> Source:
    return Source(random_weights("resnet18"))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = tuple(folder / f"{number}.png" for number in range(9))
    for number, path in enumerate(paths):
        draw(path, number)
    return Files(paths, (0, 1) * 4 + (0,))


@pytest.fixture
def open_cache(tmp_path: Path, source: Source) -> Opening:
    return lambda: FeatureCache(Store(tmp_path / "store"), source, PREPROCESSING, workers=0)


def test_rows_are_the_taps_means_of_the_picture_as_the_device_sees_it(
    files: Files, source: Source, open_cache: Opening
) -> None:
    cache = open_cache()
    found = cache.features(files)

    images = torch.from_numpy(np.stack([prepare(files.load(i), PREPROCESSING) for i in range(9)]))
    features = source(images)
    expected = torch.cat([features[tap_key(tap)] for tap in source.anatomy.taps], 1)
    assert cache.width == 1920
    assert found.rows.dtype == np.float16
    np.testing.assert_allclose(found.rows, expected, rtol=5e-3, atol=5e-3)
    assert found.places.tolist() == [*range(9)]
    assert found.unreadable == ()


@pytest.mark.parametrize("view", [View(), CROP])
def test_no_picture_is_opened_twice(files: Files, open_cache: Opening, view: View) -> None:
    before = open_cache().features(files, view)
    cache = open_cache()

    again = cache.features(replace(files, shut=True), view)
    order = [7, 2, 2, 0, 5]  # another split of them, one twice, with other labels
    some = replace(files, shut=True, targets=(1,) * 9, labels=("x", "y", "z"))
    part = cache.features(part_of(some, tuple(order)), view)
    moved = Files(tuple(files.paths[i] for i in order), (0,) * 5, shut=True)
    listed = cache.features(moved, view)

    assert cache.computed == 0
    assert again.rows.tobytes() == before.rows.tobytes()
    for found in (part, listed):
        assert found.rows.tobytes() == before.rows[order].tobytes()
        assert found.places.tolist() == [*range(5)]


def test_only_what_is_new_is_computed(files: Files, open_cache: Opening) -> None:
    open_cache().features(part_of(files, (0, 3)))
    files.opened.clear()
    cache = open_cache()
    cache.features(files)
    assert sorted(files.opened) == [1, 2, 4, 5, 6, 7, 8]
    assert cache.computed == 7


@pytest.mark.parametrize("what", ["size", "time"])
def test_a_file_that_changed_is_computed_again(
    files: Files, open_cache: Opening, what: str
) -> None:
    before = open_cache().features(files)
    status = files.paths[4].stat()
    draw(files.paths[4], 77)
    if what == "size":
        with files.paths[4].open("ab") as file:
            file.write(b"more")
        os.utime(files.paths[4], ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        os.utime(files.paths[4], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    files.opened.clear()

    after = open_cache().features(files)

    assert files.opened == [4]
    changed = (before.rows != after.rows).any(axis=1)
    assert changed.tolist() == [number == 4 for number in range(9)]


def test_views_are_the_same_whatever_else_is_listed(
    files: Files, tmp_path: Path, source: Source
) -> None:
    order = (6, 1, 8, 0)
    rows = []
    lists: tuple[Pictures, Pictures] = (files, part_of(files, order))
    for number, some in enumerate(lists):
        cache = FeatureCache(Store(tmp_path / str(number)), source, PREPROCESSING, workers=number)
        rows.append(cache.features(some, CROP).rows)
    np.testing.assert_allclose(rows[1], rows[0][list(order)], rtol=5e-3, atol=5e-3)


def test_each_view_is_another(files: Files, open_cache: Opening) -> None:
    cache = open_cache()
    views = [View(), CROP, View(2, 0, 0.5), View(1, 1, 0.5), View(1, 0, 0.2)]
    found = [cache.features(files, view).rows for view in views]
    assert len({rows.tobytes() for rows in found}) == len(views)
    assert len({view.name for view in views}) == len(views)


def test_another_preprocessing_or_source_finds_nothing(
    open_cache: Opening, random_weights: RandomWeights
) -> None:
    cache = open_cache()
    store = cache.store
    other = FeatureCache(store, cache._source, Preprocessing.for_size(48), workers=0)
    weights = random_weights("resnet18", seed=1)
    third = FeatureCache(store, Source(weights), PREPROCESSING, workers=0)
    assert len({cache.folder, other.folder, third.folder}) == 3


def test_unreadable_pictures_are_tried_again(files: Files, open_cache: Opening) -> None:
    files.paths[2].write_bytes(b"no picture")
    files.paths[8].unlink()
    first = open_cache().features(files)
    cache = open_cache()
    blocks = sorted(cache.folder.rglob("*.npy"))
    files.opened.clear()
    again = cache.features(files)

    assert cache.computed == 0
    assert sorted(files.opened) == [2, 8]
    assert sorted(cache.folder.rglob("*.npy")) == blocks  # nothing was added
    for found in (first, again):
        assert found.places.tolist() == [0, 1, 3, 4, 5, 6, 7]
        assert found.unreadable == (str(files.paths[2]), str(files.paths[8]))
        assert found.rows.shape == (7, 1920)
    assert first.rows.tobytes() == again.rows.tobytes()

    draw(files.paths[8], 8)  # and it is there again
    assert cache.features(files).places.tolist() == [0, 1, 3, 4, 5, 6, 7, 8]


def test_none_that_can_be_read(files: Files, open_cache: Opening) -> None:
    for path in files.paths:
        path.write_bytes(b"no picture")
    for _ in range(2):
        with pytest.raises(DataError, match="none of the 9 pictures could be read"):
            open_cache().features(files)


def test_a_disk_that_failed_once_is_not_held_against_a_picture(
    files: Files, open_cache: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right that was missing, or a share that was away, changes neither size nor time."""

    def stale(_files: Files, _index: int) -> Image.Image:
        raise InputError

    with monkeypatch.context() as patch:
        patch.setattr(Files, "load", stale)
        with pytest.raises(DataError, match="none of the 9"):
            open_cache().features(files)
    assert open_cache().features(files).unreadable == ()


def block_files(cache: FeatureCache) -> tuple[Path, Path]:
    (rows,) = cache.folder.rglob("*.npy")
    return rows, rows.with_suffix(".json")


def cut_to(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * (len(content) - 1))])


def flip(path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 4
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("harm", [cut_to, flip])
@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_block_is_named(
    files: Files,
    open_cache: Opening,
    harm: Callable[[Path, float], None],
    *,
    which: int,
    share: float,
) -> None:
    cache = open_cache()
    cache.features(files)
    path = block_files(cache)[which]
    harm(path, share)
    held = {each: each.read_bytes() for each in cache.folder.rglob("*") if each.is_file()}

    with pytest.raises(StoreError, match="is damaged") as caught:
        open_cache().features(files)

    message = str(caught.value)
    rows, facts = block_files(cache)
    assert str(rows) in message
    assert facts.name in message
    assert f"the whole folder {cache.folder}:" in message
    now = {each: each.read_bytes() for each in cache.folder.rglob("*") if each.is_file()}
    assert now == held
    for each in (rows, facts):  # as the message says
        each.unlink()
    cache = open_cache()
    cache.features(files)
    assert cache.computed == 9


FOREIGN: tuple[Any, ...] = ({}, [], 3, None, "text", {"keys": ["a"]}, {"facts_sha256": "0"})


@pytest.mark.parametrize("content", [*map(json.dumps, FOREIGN), "", "\x00", "{", "[" * 9])
def test_another_json_among_them(files: Files, open_cache: Opening, content: str) -> None:
    cache = open_cache()
    (cache.folder / "centre").mkdir(parents=True)
    (cache.folder / "centre" / "notes.json").write_text(content)
    with pytest.raises(StoreError, match=r"notes\.npy is damaged.*Delete it and notes\.json"):
        cache.features(files)


def test_a_block_of_another_width_or_type(tmp_path: Path) -> None:
    write_block(tmp_path, ["a", "b"], np.zeros((2, 5), np.float16))
    assert len([*read_blocks(tmp_path, 5)]) == 1
    with pytest.raises(StoreError, match=r"holds float16 \[2, 5\], expected float16 \[2, 6\]"):
        [*read_blocks(tmp_path, 6)]
    wide: Any = np.zeros((1, 5), np.float32)
    write_block(tmp_path / "wide", ["a"], wide)
    with pytest.raises(StoreError, match=r"holds float32 \[1, 5\], expected float16 \[1, 5\]"):
        [*read_blocks(tmp_path / "wide", 5)]


def test_rows_whose_facts_were_never_written_are_nobodys(files: Files, open_cache: Opening) -> None:
    """So a killed run leaves it: it is computed again."""
    cache = open_cache()
    before = cache.features(files)
    block_files(cache)[1].unlink()
    (cache.folder / "centre" / ".0123456789abcdef.tmp").write_bytes(b"half")
    cache = open_cache()
    after = cache.features(files)
    assert cache.computed == 9
    np.testing.assert_array_equal(before.rows, after.rows)


def test_what_a_killed_run_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    """What is new may be another run's, at work."""
    write_block(tmp_path, ["a"], np.zeros((1, 5), np.float16))
    whole = {path.name for path in tmp_path.iterdir()}
    for name in ("old.npy", ".old.tmp", "new.npy", ".new.tmp"):
        (tmp_path / name).write_bytes(b"half")
    for path in tmp_path.iterdir():
        if "new" not in path.name:
            os.utime(path, (0, 0))

    write_block(tmp_path, ["b"], np.ones((1, 5), np.float16))

    left = {path.name for path in tmp_path.iterdir()}
    assert whole | {"new.npy", ".new.tmp"} < left
    assert not {"old.npy", ".old.tmp"} & left
    assert sorted(block.keys for block in read_blocks(tmp_path, 5)) == [("a",), ("b",)]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, InputError])
def test_what_was_computed_before_a_stop_is_kept(
    files: Files, open_cache: Opening, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    monkeypatch.setattr(feature_cache, "BLOCK_PICTURES", 4)
    plain = Files.load

    def load(self: Files, index: int) -> Image.Image:
        if index == 6 and stop is KeyboardInterrupt:
            raise KeyboardInterrupt
        return plain(self, index)

    monkeypatch.setattr(Files, "load", load)
    if stop is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            open_cache().features(files)
    else:
        open_cache().features(part_of(files, (0, 1, 2, 3)))
    monkeypatch.setattr(Files, "load", plain)
    files.opened.clear()

    found = open_cache().features(files)

    assert sorted(files.opened) == [4, 5, 6, 7, 8]
    assert found.rows.shape == (9, 1920)


def test_progress_goes_to_the_end(
    files: Files, open_cache: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "BLOCK_PICTURES", 4)
    files.paths[3].write_bytes(b"no picture")
    shares: list[float] = []
    open_cache().features(files, progress=lambda _stage, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (float("nan"), SourceError, "infinite or NaN"),
        (float("inf"), SourceError, "infinite or NaN"),
        (1e6, TrainingError, "NaN or above 65504"),
    ],
)
def test_a_feature_that_is_no_number(  # noqa: PLR0917 - a column each
    files: Files,
    random_weights: RandomWeights,
    tmp_path: Path,
    value: float,
    error: type[Exception],
    message: str,
) -> None:
    own = Source(random_weights("resnet18"))
    cache = FeatureCache(Store(tmp_path / "store"), own, PREPROCESSING, workers=0)
    for parameter in own.network.parameters():
        parameter.fill_(value)
    with pytest.raises(error, match=message):
        cache.features(files)
    assert not cache.folder.exists()


def test_a_full_disk(files: Files, source: Source, mount_disk: Callable[[str], Path]) -> None:
    """Of a block of 35 KB nothing is left, and what was there before still works."""
    disk = mount_disk("64k")
    cache = FeatureCache(Store(disk), source, PREPROCESSING, workers=0)
    cache.features(part_of(files, (0, 1)))
    before = sorted(path for path in disk.rglob("*") if path.is_file())
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "rest").write_bytes(bytes(max(0, free - 16 * 1024)))

    with pytest.raises(StoreError, match="Free space or access; nothing else was changed"):
        cache.features(files)

    (disk / "rest").unlink()
    assert sorted(path for path in disk.rglob("*") if path.is_file()) == before
    assert cache.features(part_of(replace(files, shut=True), (1, 0))).rows.shape == (2, 1920)


def _add(folder: Path, start: int) -> None:
    for number in range(start, start + 20):
        rows = np.full((1, 5), number, np.float16)
        write_block(folder, [str(number)], rows)
        assert all(block.rows.shape == (1, 5) for block in read_blocks(folder, 5))


@pytest.mark.slow
def test_two_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add, args=(tmp_path, start)) for start in (0, 10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    found = {block.keys[0]: float(block.rows[0, 0]) for block in read_blocks(tmp_path, 5)}
    assert found == {str(number): number for number in range(30)}


def test_a_picture_by_two_names_has_one_row(files: Files, open_cache: Opening) -> None:
    """Also where it can be read by one of them alone: nothing is left of what was in memory."""
    link = files.paths[0].parent / "link.png"
    link.symlink_to(files.paths[0])
    both = Files((*files.paths, link), (*files.targets, 0))

    found = open_cache().features(both)

    assert 9 not in both.opened
    assert np.array_equal(found.rows[9], found.rows[0])
    again = open_cache().features(replace(both, shut=True))
    assert np.array_equal(again.rows, found.rows)


def test_a_tar_is_known_by_its_size_and_time_whatever_its_name(tmp_path: Path) -> None:
    """Of `TAR#MEMBER` folder and member may have a # as well."""
    for folder in ("plain", "set#2"):
        tar = tmp_path / folder / "train.tar"
        tar.parent.mkdir()
        keys = []
        for content in (b"one", b"others"):
            tar.write_bytes(content)
            keys += [picture_key(f"{tar}#{member}") for member in ("1.jpg", "a#1.jpg")]
        assert len(set(keys)) == 4, folder


def test_one_file_by_two_ways_is_one_picture(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.paths[0]
    (path.parent / "link.png").symlink_to(path)
    monkeypatch.chdir(path.parent)
    assert len({picture_key(each) for each in (str(path), path.name, "link.png")}) == 1
    assert len({picture_key(str(each)) for each in files.paths}) == 9
    assert picture_key("demo/1") == picture_key("demo/1") != picture_key("demo/2")
    picture_key("no\0path")
