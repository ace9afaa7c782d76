"""Zstandard, with an older piece as the dictionary where there is one ("patch-from")."""

from __future__ import annotations

from typing import Any, Final

from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install
from snow_runtime.update.errors import UntrustedError

LEVEL: Final = 19
_LOWEST_WINDOW: Final = 10
_HIGHEST_WINDOW: Final = 26  # the largest piece against another; the reader's memory for it
_SHORTEST_BASE: Final = 8  # bytes; a dictionary has more


def compress(content: bytes, base: bytes | None = None, level: int = LEVEL) -> bytes:
    """Compress bytes, against others that the reader has.

    Args:
        content: The bytes.
        base: What the reader has; None for nothing.
        level: Level of Zstandard.

    Raises:
        MissingDependencyError: The library is not installed.
    """
    zstd = _zstd()
    names = zstd.CompressionParameter
    reach = len(content) + (0 if base is None else len(base))
    window = min(max(reach.bit_length(), _LOWEST_WINDOW), _HIGHEST_WINDOW)
    options = {
        names.compression_level: level,
        names.window_log: window,
        names.enable_long_distance_matching: 1,
    }
    packed: bytes = zstd.compress(content, options=options, zstd_dict=_prefix(zstd, base))
    return packed


def decompress(packed: bytes, size_bytes: int, base: bytes | None = None) -> bytes:
    """Give back what was compressed.

    Args:
        packed: The compressed bytes.
        size_bytes: How many they have to become; no more are made, whatever they say.
        base: What they were compressed against; None for nothing.

    Raises:
        UntrustedError: They are damaged, or become more or fewer bytes.
        MissingDependencyError: The library is not installed.
    """
    zstd = _zstd()
    try:
        options = {zstd.DecompressionParameter.window_log_max: _HIGHEST_WINDOW}
        decompressor = zstd.ZstdDecompressor(zstd_dict=_prefix(zstd, base), options=options)
        content: bytes = decompressor.decompress(packed, max_length=size_bytes + 1)
    except zstd.ZstdError as error:
        msg = f"A piece cannot be unpacked: {error}. The publisher has to publish it anew."
        raise UntrustedError(msg) from error
    if len(content) != size_bytes:
        msg = (
            f"A piece unpacks to {len(content)} bytes or more, expected {size_bytes}. The "
            "publisher has to publish it anew."
        )
        raise UntrustedError(msg)
    return content


def usable_base(base: bytes) -> bool:
    """Tell whether bytes can serve as a base."""
    return len(base) > _SHORTEST_BASE


def _prefix(zstd: Any, base: bytes | None) -> Any:
    return None if base is None else zstd.ZstdDict(base, is_raw=True).as_prefix


def _zstd() -> Any:
    """Import Zstandard: Python's own from 3.14 on, before that its copy for older ones."""
    try:
        from compression import zstd
    except ImportError:
        try:
            from backports import zstd  # type: ignore[no-redef,unused-ignore]
        except ImportError as error:
            msg = (
                "Updates are unpacked by backports.zstd, which is not installed; run: "
                f"{pip_install('agent')}"
            )
            raise MissingDependencyError(msg) from error
    return zstd
