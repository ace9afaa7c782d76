"""Reading NumPy archives that may be damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive by their names; pickled ones are refused.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such archive, or damaged.
    """
    try:
        # Opened here: of a damaged file NumPy would leave it open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except OSError:
        raise
    except Exception as error:
        # zipfile, zlib and NumPy's reader of headers, which is Python's tokenizer, have classes of
        # their own, and an archive's bytes can lead to any of them.
        msg = f"it is damaged, or no NumPy archive: {error}"
        raise ValueError(msg) from error
