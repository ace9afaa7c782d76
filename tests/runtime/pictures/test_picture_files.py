from __future__ import annotations

import pytest

from snow_runtime.pictures.picture_files import (
    LeftOut,
    picture_endings,
    why_no_folder,
    why_no_picture,
)


def test_the_usual_endings_are_known_and_others_are_not() -> None:
    usual = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
    assert usual <= picture_endings()
    others = {".txt", ".pdf", ".mp4", ".mpg", ".eps", ".h5", "", ".heic", ".dng", ".thm", ".json"}
    assert not others & picture_endings()


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "A.JPG", "b.Jpeg", "two.dots.png", "~a.png", "#1.png", "$5.webp", "copy of x.tif"],
)
def test_a_picture(name: str) -> None:
    assert why_no_picture(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".DS_Store", "hidden"),
        ("._photo.jpg", "hidden"),
        (".hidden.png", "hidden"),
        ("Thumbs.db", "system"),
        ("thumbs.DB", "system"),
        ("desktop.ini", "system"),
        ("Icon\r", "system"),
        ("Picasa.ini", "system"),
        ("AlbumArtSmall.jpg", "system"),
        ("AlbumArt_{5FA05D35-A682-4AF6-96F7-0773E42D4D16}_Large.jpg", "system"),
        ("SYNOPHOTO_THUMB_XL.jpg", "system"),
        ("IMG_0001.HEIC", ".heic"),
        ("IMG_0001.CR2", ".cr2"),
        ("a.jpg.part", ".part"),
        ("a.jpg:Zone.Identifier", ".identifier"),
        ("a.jpg~", ".jpg~"),
        ("notes.txt", ".txt"),
        ("IMG_0001", "without an ending"),
        ("IMG_0001.", "without an ending"),
    ],
)
def test_no_picture(name: str, why: str) -> None:
    assert why in str(why_no_picture(name))


@pytest.mark.parametrize(
    "name",
    [
        *(".thumbnails", ".@__thumb", ".picasaoriginals", ".Trash-1000", ".ipynb_checkpoints"),
        *("@eaDir", "#recycle", "#snapshot", "@tmp", "@Recycle", "@Recently-Snapshot"),
        *("__MACOSX", "Network Trash Folder", "Temporary Items", "TheVolumeSettingsFolder"),
        *("$RECYCLE.BIN", "$Recycle.Bin", "RECYCLER", "System Volume Information", "FOUND.000"),
        *("lost+found", "LOST.DIR", "[Originals]", "Photos Library.photoslibrary"),
        *("Lightroom Catalog Previews.lrdata", "CaptureOne", "iPod Photo Cache"),
    ],
)
def test_no_folder_to_look_into(name: str) -> None:
    assert why_no_folder(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        *("cat", "train", "#1", "$5", "@home", "recycled", "recycler", "thumbnails", "originals"),
        *("lost", "found", "temporary", "system", "my__MACOSX", "n02084071-dog", "~tilde", "größe"),
    ],
)
def test_a_folder_that_may_be_a_class(name: str) -> None:
    assert why_no_folder(name) is None


def test_what_is_left_out_is_counted_with_its_reason_and_the_first_of_its_kind() -> None:
    left_out = LeftOut()
    assert not left_out
    assert [left_out.takes(name) for name in ("a.jpg", "1.heic", "2.HEIC", ".DS_Store")] == [
        *(True, False, False, False)
    ]
    assert left_out.enters("cat")
    assert not left_out.enters("@eaDir", shown="cat/@eaDir")
    assert left_out.summary() == (
        "2 .heic files, which are not read here ('1.heic' and others); 1 folder that a system or "
        "photo tool left ('cat/@eaDir'); 1 hidden file ('.DS_Store')"
    )
