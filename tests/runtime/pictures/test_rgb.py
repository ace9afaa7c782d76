"""Pictures of every kind as RGB on white, against formulas, from files written by hand."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import ExifTags, Image, features

from snow_runtime.graph.manifest import Preprocessing
from snow_runtime.pictures import remarks
from snow_runtime.pictures.preprocessing import as_rgb, load_image, prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

H, W = 6, 9
GREY, GREY_ALPHA, RGB, PALETTE, RGBA = 0, 4, 2, 3, 6  # PNG's colour types


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remarks, "_told", set())


def drawn(*shape: int, top: int = 256, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, top, shape)


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png(
    samples: NDArray[Any],
    depth: int,
    colour_type: int,
    *,
    transparent: bytes = b"",
    palette: bytes = b"",
) -> bytes:
    """Write samples [H, W] or [H, W, channels] as the standard has it, without Pillow."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    lines = []
    for row in rows:
        bits = "".join(f"{value:0{depth}b}" for value in row.tolist())
        bits += "0" * (-len(bits) % 8)
        lines.append(b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big"))
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    content = chunk(b"IHDR", header)
    content += chunk(b"PLTE", palette) if palette else b""
    content += chunk(b"tRNS", transparent) if transparent else b""
    content += chunk(b"IDAT", zlib.compress(b"".join(lines)))
    return b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b"")


def on_white(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Compose [H, W, 3] of 0 to 255 by alpha [H, W] of 0 to 255, in double precision."""
    share = alpha[..., None] / 255
    result: NDArray[Any] = colours * share + 255 * (1 - share)
    return result


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    assert image.mode == "RGB"
    return np.asarray(image)


def check(path: Path, expected: NDArray[Any], levels: float = 0.501) -> None:
    """Compare a file as it is loaded, as it is opened, and as the networks get it."""
    loaded = pixels(load_image(path))
    assert np.abs(loaded - expected).max() <= levels
    with Image.open(path) as opened:
        np.testing.assert_array_equal(pixels(as_rgb(opened)), loaded)
    preprocessing = Preprocessing(H, H, (0.5,) * 3, (0.5,) * 3)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(
            prepare(opened, preprocessing), prepare(loaded, preprocessing)
        )
    np.testing.assert_array_equal(pixels(as_rgb(load_image(path))), loaded)


# ------------------------------------------------------------------------------- transparency


def rgba_and_expected() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    samples = drawn(H, W, 4).astype(np.uint8)
    samples[0, :3, 3] = 0, 255, 1
    return samples, on_white(samples[..., :3], samples[..., 3])


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "ico", "tga", "jp2"])
def test_an_alpha_channel_is_laid_on_white(tmp_path: Path, suffix: str) -> None:
    if suffix == "jp2" and not features.check("jpg_2000"):
        pytest.skip("this Pillow has no JPEG 2000")
    samples, expected = rgba_and_expected()
    path = tmp_path / f"a.{suffix}"
    options: dict[str, dict[str, Any]] = {
        "webp": {"lossless": True, "exact": True},
        "ico": {"sizes": [(W, H)]},
    }
    Image.fromarray(samples).save(path, **options.get(suffix, {}))
    assert np.abs(pixels(load_image(path)) - expected).max() <= 0.501


def test_grey_with_alpha(tmp_path: Path) -> None:
    samples = drawn(H, W, 2)
    expected = on_white(np.repeat(samples[..., :1], 3, axis=2), samples[..., 1])
    (tmp_path / "a.png").write_bytes(png(samples, 8, GREY_ALPHA))
    check(tmp_path / "a.png", expected)


@pytest.mark.parametrize("colour_type", [GREY_ALPHA, RGBA])
def test_sixteen_bits_with_alpha(tmp_path: Path, colour_type: int) -> None:
    samples = drawn(H, W, 2 if colour_type == GREY_ALPHA else 4, top=65536)
    exact = samples / 65535 * 255
    colours = np.repeat(exact[..., :1], 3, axis=2) if colour_type == GREY_ALPHA else exact[..., :3]
    (tmp_path / "a.png").write_bytes(png(samples, 16, colour_type))
    check(tmp_path / "a.png", on_white(colours, exact[..., -1]), levels=2.5)  # Pillow truncates


@pytest.mark.parametrize("alphas", [b"", b"\0", b"\xff\x40", b"\0\x80\xff"])
def test_a_palette_with_transparent_entries(tmp_path: Path, alphas: bytes) -> None:
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])
    indices = drawn(H, W, top=3)
    opacity = np.array([*alphas, *b"\xff" * (3 - len(alphas))])
    content = png(
        indices, 8, PALETTE, palette=colours.astype(np.uint8).tobytes(), transparent=alphas
    )
    (tmp_path / "a.png").write_bytes(content)
    check(tmp_path / "a.png", on_white(colours[indices], opacity[indices]))


def test_a_transparent_gif(tmp_path: Path) -> None:
    indices = drawn(H, W, top=3).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    image.putpalette(colours.ravel().tolist())
    image.save(tmp_path / "a.gif", transparency=1)
    check(tmp_path / "a.gif", on_white(colours[indices], np.where(indices == 1, 0, 255)))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_grey_that_stands_for_transparent(tmp_path: Path, depth: int) -> None:
    top = 2**depth
    samples = drawn(H, W, top=top)
    key = int(samples[2, 3])
    (tmp_path / "a.png").write_bytes(png(samples, depth, GREY, transparent=struct.pack(">H", key)))
    grey = np.repeat((samples / (top - 1) * 255)[..., None], 3, axis=2)
    check(tmp_path / "a.png", on_white(grey, np.where(samples == key, 0, 255)))


@pytest.mark.parametrize("depth", [8, 16])
def test_one_colour_that_stands_for_transparent(tmp_path: Path, depth: int) -> None:
    samples = drawn(H, W, 3, top=2**depth)
    samples[4, 5] = samples[2, 3]
    key = struct.pack(">3H", *samples[2, 3].tolist())
    (tmp_path / "a.png").write_bytes(png(samples, depth, RGB, transparent=key))
    seen = np.where((samples == samples[2, 3]).all(axis=2), 0, 255)
    assert (seen == 0).sum() == 2
    expected = on_white(samples / (2**depth - 1) * 255, seen)
    check(tmp_path / "a.png", expected, levels=0.501 if depth == 8 else 1)


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA"])
def test_images_in_memory(mode: str) -> None:
    samples, _ = rgba_and_expected()
    image = Image.fromarray(samples)
    if mode in {"LA", "La"}:
        image = image.convert("LA")
    colours = np.asarray(image.convert("RGB")).astype(float)
    alpha = np.asarray(image.getchannel("A")).astype(float)
    if mode == "PA":
        image = image.convert("RGB").quantize(16).convert("PA")
        image.putalpha(Image.fromarray(samples[..., 3]))
        assert image.mode == "PA"
        colours = np.asarray(image.convert("RGB")).astype(float)
    elif mode in {"La", "RGBa"}:
        image = image.convert(mode)
    difference = np.abs(pixels(as_rgb(image)) - on_white(colours, alpha))
    # Premultiplied colours are stored in eight bits, rounded twice.
    assert difference.max() <= (1.5 if mode in {"La", "RGBa"} else 0.501)


def test_different_logos_in_black_ink_differ() -> None:
    """Black on transparent black: dropping the alpha channel would leave two black squares."""
    y, x = np.mgrid[:32, :32] - 15.5
    shapes = {"disc": x**2 + y**2 < 100, "bar": abs(x) < 4}
    seen = {}
    for name, ink in shapes.items():
        samples = np.zeros((32, 32, 4), np.uint8)
        samples[ink, 3] = 255
        seen[name] = pixels(as_rgb(Image.fromarray(samples)))
        np.testing.assert_array_equal(seen[name], np.where(ink, 0, 255)[..., None].repeat(3, 2))
    assert (seen["disc"] != seen["bar"]).any()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "I;16"])
def test_transparency_and_orientation_together(tmp_path: Path, mode: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # a quarter turn, clockwise
    samples, expected = rgba_and_expected()
    options: dict[str, Any] = {}
    if mode == "RGBA":
        image = Image.fromarray(samples)
    elif mode == "LA":
        image = Image.fromarray(samples[..., [0, 3]].copy())
        expected = on_white(samples[..., [0, 0, 0]], samples[..., 3])
    else:
        grey = samples[..., 0].copy()
        key = int(grey[2, 3])
        expected = on_white(grey[..., None].repeat(3, 2), np.where(grey == key, 0, 255))
        image = Image.fromarray(grey)
        if mode == "P":
            image.putpalette([level for level in range(256) for _ in range(3)])
        if mode == "I;16":
            image, key = Image.fromarray(grey.astype(np.uint16) * 257), key * 257
        assert image.mode == mode
        options["transparency"] = key
    image.save(tmp_path / "a.png", exif=exif, **options)
    turned = np.rot90(expected, -1)
    loaded = load_image(tmp_path / "a.png")
    assert np.abs(pixels(loaded) - turned).max() <= 0.501
    np.testing.assert_array_equal(pixels(as_rgb(loaded)), pixels(loaded))


def test_opaque_alpha_changes_nothing(tmp_path: Path) -> None:
    samples = drawn(H, W, 4).astype(np.uint8)
    samples[..., 3] = 255
    Image.fromarray(samples).save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels(load_image(tmp_path / "a.png")), samples[..., :3])


def test_nothing_to_be_seen_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.new("RGBA", (4, 4), (200, 10, 10, 0)).save(tmp_path / "ghost.png")
    assert (pixels(load_image(tmp_path / "ghost.png")) == 255).all()
    assert "ghost.png" in caplog.text
    assert "transparent everywhere" in caplog.text


# -------------------------------------------------------------------------- more than eight bits


def grey_png(samples: NDArray[Any]) -> bytes:
    return png(samples, 16, GREY)


def rgb_png(samples: NDArray[Any]) -> bytes:
    return png(samples[..., None].repeat(3, 2), 16, RGB)


def grey_alpha_png(samples: NDArray[Any]) -> bytes:
    return png(np.stack([samples, np.full_like(samples, 65535)], axis=2), 16, GREY_ALPHA)


def rgba_png(samples: NDArray[Any]) -> bytes:
    opaque = np.full((*samples.shape, 1), 65535)
    return png(np.concatenate([samples[..., None].repeat(3, 2), opaque], axis=2), 16, RGBA)


def grey_tiff(samples: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(samples.astype(np.uint16)).save(stream, "TIFF", compression="tiff_lzw")
    return stream.getvalue()


def tiff(strip: bytes, bits: tuple[int, ...], photometric: int) -> bytes:
    """Write an uncompressed little-endian TIFF of H x W pixels, without Pillow."""
    depths = struct.pack(f"<{len(bits)}H", *bits)
    tags = [
        (256, 3, 1, W),
        (257, 3, 1, H),
        (258, 3, len(bits), bits[0] if len(bits) == 1 else 8),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 16),
        (277, 3, 1, len(bits)),
        (278, 3, 1, H),
        (279, 4, 1, len(strip)),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    body = depths.ljust(8, b"\0") + strip + b"\0" * (len(strip) % 2)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory


def rgb_tiff(samples: NDArray[Any]) -> bytes:
    return tiff(samples[..., None].repeat(3, 2).astype("<u2").tobytes(), (16, 16, 16), 2)


DEEP: list[Callable[[NDArray[Any]], bytes]] = [
    *(grey_png, rgb_png, grey_alpha_png, rgba_png, grey_tiff, rgb_tiff),
]


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("encode", DEEP)
def test_a_picture_that_fills_little_of_its_range_is_told_of(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    encode: Callable[[NDArray[Any]], bytes],
    bits: int,
) -> None:
    samples = drawn(H, W, top=2**bits)
    path = tmp_path / "sensor.img"
    path.write_bytes(encode(samples))
    assert pixels(load_image(path)).max() <= 64
    (record,) = caplog.records
    text = record.getMessage()
    assert "sensor.img" in text
    assert "65535 is white" in text
    seen = int(text.split("no value above ")[1].split(",")[0])
    assert samples.max() <= seen <= samples.max() + 255


@pytest.mark.parametrize("encode", DEEP)
def test_a_picture_that_fills_its_range_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, encode: Callable[[NDArray[Any]], bytes]
) -> None:
    samples = drawn(H, W, top=65536)
    samples[0, 0] = 40_000
    path = tmp_path / "a.img"
    path.write_bytes(encode(samples))
    expected = (samples / 65535 * 255)[..., None].repeat(3, 2)
    assert np.abs(pixels(load_image(path)) - expected).max() <= 1
    assert not caplog.records


def test_black_is_black(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.png").write_bytes(grey_png(np.zeros((H, W), np.int64)))
    assert not pixels(load_image(tmp_path / "a.png")).any()
    assert not caplog.records


def test_many_such_pictures_are_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(grey_png(drawn(H, W, top=4096)))
        load_image(tmp_path / f"{number}.png")
    (record,) = caplog.records
    assert "0.png" in record.getMessage()


def test_a_range_that_the_file_states_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Twelve bits in a TIFF that says so, and the greatest value that a PGM or PPM names."""
    width = W + W % 2
    samples = drawn(H, width, top=4096)
    samples[0, 0] = 4095
    packed = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in samples.reshape(-1, 2).tolist()
    )
    content = tiff(packed, (12,), 1)
    content = content.replace(
        struct.pack("<HHII", 256, 3, 1, W), struct.pack("<HHII", 256, 3, 1, width)
    )
    (tmp_path / "a.tif").write_bytes(content)
    header = f" {width} {H} 4095\n".encode()
    (tmp_path / "a.pgm").write_bytes(b"P5" + header + samples.astype(">u2").tobytes())
    colours = samples[..., None].repeat(3, 2)
    (tmp_path / "a.ppm").write_bytes(b"P6" + header + colours.astype(">u2").tobytes())
    for suffix in ("tif", "pgm", "ppm"):
        loaded = pixels(load_image(tmp_path / f"a.{suffix}"))
        assert np.abs(loaded - colours / 4095 * 255).max() <= 1, suffix
    assert not caplog.records
