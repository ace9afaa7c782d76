"""The file of a readout: its weights, and what has to be known before they are used.

It is a safetensors file of two tensors with one JSON document in its metadata, some kilobytes long.
It carries a SHA-256 of the document's text and the tensors, so that a changed one is refused, and
nothing in it is run. The hash is that of the text as it stands: a later version's document may have
fields more, and still reads this one's.

Axes: C labels; K features that the readout reads.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.errors import ManifestError, ReadoutError
from snow_runtime.files import atomic_write, writing
from snow_runtime.graph.document import parse_json
from snow_runtime.readout.facts import FORMAT, ReadoutFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX: Final = ".readout"
_KEY: Final = "snow_deploy.readout"
_HASH: Final = "sha256"
_LARGEST_BYTES: Final = 1 << 28
_DTYPE: Final = np.dtype("<f4")
_ADVICE: Final = "Copy it again, or fit it anew with 'snow-deploy fit'."


@dataclass(frozen=True, eq=False)
class ReadoutFile:
    """A readout, as its file holds it.

    Attributes:
        facts: What it is; its task gets the hash of the weights here.
        weight: float32 `[C, K]`, in the order of the features; what standardises them is in it.
        bias: float32 `[C]`.

    Raises:
        ReadoutError: The weights are no finite numbers, or not as many as the facts say.
    """

    facts: ReadoutFacts
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that weights and facts belong together."""
        wanted = {
            "weight": (len(self.facts.task.labels), len(self.index)),
            "bias": (len(self.facts.task.labels),),
        }
        for name, shape in wanted.items():
            values = np.ascontiguousarray(getattr(self, name), _DTYPE)
            if values.shape != shape:
                msg = (
                    f"The {name} of the readout {self.name} is {list(values.shape)}, expected "
                    f"{list(shape)} for its labels and features. Fit it anew."
                )
                raise ReadoutError(msg)
            if not np.isfinite(values).all():
                msg = (
                    f"The {name} of the readout {self.name} has NaN or infinity in it, expected "
                    "finite numbers. Fit it anew on a graph in fp32."
                )
                raise ReadoutError(msg)
            object.__setattr__(self, name, values)
        task = replace(self.facts.task, sha256=_digest(self.bias, self.weight))
        object.__setattr__(self, "facts", replace(self.facts, task=task))

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.facts.task.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The C labels, in the order of the logits."""
        return self.facts.task.labels

    @functools.cached_property
    def index(self) -> NDArray[np.int64]:
        """Int64 `[K]`, ascending: which of the graph's features it reads."""
        parts, start = [], 0
        for tap in self.facts.taps:
            chosen = self.facts.task.selections.get(tap.name, ())
            parts.append(np.asarray(chosen, np.int64) + start)
            start += tap.channels
        return np.concatenate(parts)

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer: a graph's features float32 `[B, F]` to logits float32 `[B, C]`."""
        return np.asarray(features[:, self.index] @ self.weight.T + self.bias, np.float32)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file whole, or leave what is there.

        Raises:
            ReadoutError: It cannot be written.
        """
        from safetensors.numpy import save

        text = self.facts.to_json()
        digest = _digest(self.bias, self.weight, text)
        content = save({"bias": self.bias, "weight": self.weight}, {_KEY: text, _HASH: digest})
        with (
            writing(path, ReadoutError, "Nothing was changed; free space or access."),
            atomic_write(path) as stream,
        ):
            stream.write(_in_order(content))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ReadoutFile:
        """Read what :meth:`write` wrote.

        Raises:
            ReadoutError: It is missing, damaged, changed, of another kind or a newer format.
        """
        path = Path(path)
        content = _content(path)
        try:
            facts, tensors = _parsed(content)
            found = cls(facts, tensors["weight"], tensors["bias"])
        except ManifestError as error:
            raise ReadoutError(_damaged(path, error.finding)) from error
        except ReadoutError as error:
            msg = f"{path} is not usable: {error}"
            raise ReadoutError(msg) from error
        return found


def check_place(path: Path) -> None:
    """Refuse a place where no file can be written, before any work; its folder may not exist yet.

    Raises:
        ReadoutError: This user may not write there, or a file is in the way.
    """
    above = Path(os.path.realpath(path)).parents
    folder = next((each for each in above if each.exists()), above[-1])
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "may not be written to by this user" if folder.is_dir() else "is no folder"
        msg = f"{path} cannot be written: {folder} {what}. Name another place."
        raise ReadoutError(msg)


def _digest(bias: NDArray[np.float32], weight: NDArray[np.float32], text: str = "") -> str:
    digest = hashlib.sha256(text.encode())
    digest.update(bias.tobytes())
    digest.update(weight.tobytes())
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    """Read the whole file at once: one that is replaced meanwhile must not change under the hash.

    Raises:
        ReadoutError: It is missing, no plain file, too large or unreadable.
    """
    expected = f"expected a readout ({SUFFIX}) that 'snow-deploy fit' wrote"
    try:
        if not path.is_file():  # a pipe would be waited for without end
            what = "is no plain file" if path.exists() else "does not exist"
            msg = f"The readout {path} {what}, {expected}. Check the path."
            raise ReadoutError(msg)
        size = path.stat().st_size
        if size > _LARGEST_BYTES:
            msg = f"The readout {path} has {size} bytes, {expected}, a small file. Check the path."
            raise ReadoutError(msg)
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        msg = f"The readout {path} cannot be read: {error}; {expected}. Check its permissions."
        raise ReadoutError(msg) from error


def _in_order(content: bytes) -> bytes:
    """Put the header's keys in order: safetensors writes metadata in an order drawn anew each time.

    Equal readouts are so equal files.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _parsed(content: bytes) -> tuple[ReadoutFacts, dict[str, NDArray[np.float32]]]:
    """Take a file apart.

    Raises:
        ManifestError: It is damaged or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors: dict[str, Any] = load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])  # sound: `load` has read it
        text, sha256 = (header["__metadata__"][key] for key in (_KEY, _HASH))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        finding = f"it is no file of a readout, or cut short: {type(error).__name__} {error}"
        raise ManifestError(finding) from error
    data = parse_json(text)
    if isinstance(data, dict) and data.get("format") != FORMAT:
        finding = f"its format is {data.get('format')!r}, expected {FORMAT}"
        raise ManifestError(finding)
    found = {name: (values.dtype, values.ndim) for name, values in tensors.items()}
    if found != {"weight": (_DTYPE, 2), "bias": (_DTYPE, 1)}:
        shown = ", ".join(f"{name} {dtype} of {ndim} axes" for name, (dtype, ndim) in found.items())
        finding = f"it holds {shown or 'nothing'}, expected float32 weight [C, K] and bias [C]"
        raise ManifestError(finding)
    if sha256 != _digest(tensors["bias"], tensors["weight"], text):
        finding = "its content does not match its hash"
        raise ManifestError(finding)
    return ReadoutFacts.read("the document", data), tensors


def _damaged(path: Path, why: str) -> str:
    return f"The readout {path} is damaged or of another kind: {why}. {_ADVICE}"
