"""A loaded graph: pictures in, labels with probabilities out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_runtime.backends.onnxruntime_session import OnnxSession
from snow_runtime.backends.remote.address import is_remote, parse_remote
from snow_runtime.closing import Closing
from snow_runtime.confidence.probabilities import to_probabilities
from snow_runtime.engine.paths import record_path
from snow_runtime.pictures.prepared import Prepared, make_ready, run_in_parts
from snow_runtime.readout.evaluate import (
    Readouts,
    features_of,
    task_logits,
    task_unlikenesses,
)
from snow_runtime.results import Result, TaskResult
from snow_runtime.self_check import self_check

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from snow_runtime.backends.remote.address import RemoteOptions
    from snow_runtime.backends.session import Session
    from snow_runtime.engine.load import Rebuild
    from snow_runtime.graph.manifest import Manifest
    from snow_runtime.pictures.preprocessing import Colour, Picture
    from snow_runtime.readout.file import ReadoutFile

_MOST_THREADS: Final = 1024


def load(
    path: str | os.PathLike[str],
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    *,
    contexts: int = 1,
    rebuild: Rebuild = "never",
    unlikeness: bool = True,
) -> Model:
    """Load a graph that ``snow-deploy export`` made, or an engine of ``snow-deploy build-engine``.

    Args:
        path: The ONNX file, or the engine with its record beside it; or the address of a model on
            a server, for :func:`remote`.
        providers: ONNX Runtime's execution providers in order of preference, such as
            ``["CPUExecutionProvider"]``. None takes CUDA if it works here, otherwise the CPU.
        threads: CPU threads within one call; None leaves the choice to ONNX Runtime.
        contexts: Number of calls of an engine that may compute at once; each needs GPU memory.
        rebuild: ``"auto"`` builds an engine anew from its graph where it does not load here.
        unlikeness: Whether answers say how unlike those trained on a picture is, where that can be
            known; without, it is not computed.

    Raises:
        GraphError: The file is missing, unreadable, no ONNX graph or one without a manifest.
        ManifestError: Its manifest is malformed or contradicts the graph.
        EngineError: An engine is missing, damaged, swapped, or built for another TensorRT or GPU.
        MissingDependencyError: The library that runs it, or a provider asked for, is not there;
            the message holds the pip command.
        ValueError: ``threads`` or ``contexts`` is out of range, or an option is not for this file.
        RemoteError, InputError: As for :func:`remote`.
    """
    if threads is not None and not 1 <= threads <= _MOST_THREADS:
        msg = f"Cannot compute with {threads} threads: expected 1 to {_MOST_THREADS}, or None."
        raise ValueError(msg)
    if isinstance(path, str) and is_remote(path):
        if (providers, threads, contexts, rebuild) != (None, None, 1, "never"):
            msg = f"Cannot open {parse_remote(path)}: a server's model has no such options."
            raise ValueError(msg)
        return remote(path)
    path = Path(path)
    if not is_engine(path):
        if contexts != 1 or rebuild != "never":
            msg = f"Cannot load {path}: contexts and rebuild are options of engines."
            raise ValueError(msg)
        session = OnnxSession(path, providers, threads)
        return Model(session, session.manifest, unlikeness=unlikeness)
    if providers is not None or threads is not None:
        msg = f"Cannot load {path}: providers and threads are ONNX Runtime's options."
        raise ValueError(msg)
    return _load_engine(path, contexts, rebuild, unlikeness=unlikeness)


def remote(address: str, options: RemoteOptions | None = None) -> Model:
    """Open a model that a server has, such as Triton with a repository of ``snow-deploy triton``.

    It is called like one that lies here, and gives the same answers: pictures are prepared here,
    and the server gets the graph's input. A server that goes away makes calls fail, each with a
    RemoteError; the first call after it is back works again.

    Args:
        address: ``grpc://HOST[:PORT]/MODEL[/VERSION]``, or ``grpcs://`` for TLS. Without a version
            it is the newest that is served now. What :class:`RemoteOptions` holds may stand behind
            it: ``?timeout=2&ca=ca.pem&cert=me.pem&key=me.key&tls-host=NAME&token={env:NAME}``.
        options: How the server is asked, where the address does not say otherwise.

    Raises:
        InputError: The address is none, or a secret or certificate that it names cannot be read.
        RemoteError: The server cannot be asked, or has no such model with a manifest.
        ManifestError: Its manifest is malformed, or contradicts the server's config.
        MissingDependencyError: Tritonclient, which asks, is not installed.
    """
    from snow_runtime.backends.remote.session import RemoteSession

    session = RemoteSession(parse_remote(address, options))
    return Model(session, session.manifest)


def is_engine(path: Path) -> bool:
    """Tell whether a file is loaded as an engine, not as a graph, by its name and neighbours."""
    return path.suffix != ".onnx" and (
        path.suffix == ".engine" or record_path(path.resolve()).exists()
    )


def _load_engine(path: Path, contexts: int, rebuild: Rebuild, *, unlikeness: bool) -> Model:
    from snow_runtime.engine.load import open_engine
    from snow_runtime.engine.session import EngineSession

    if contexts < 1:
        msg = f"Cannot compute in {contexts} contexts: expected 1 or more."
        raise ValueError(msg)
    opened = open_engine(path, rebuild)
    manifest = opened.record.manifest
    session = EngineSession(opened.engine, manifest, opened.backend.module, contexts=contexts)
    return Model(session, manifest, opened.runtime, unlikeness=unlikeness)


class Model(Closing):
    """A graph ready to answer; made by :func:`load`.

    Several threads may call it at once. As a context manager it closes itself.

    Args:
        session: The backend that runs the graph.
        manifest: What the graph is.
        keep: What has to live as long as the session, such as TensorRT's runtime.
        unlikeness: Whether answers say how unlike those trained on a picture is.

    Attributes:
        manifest: What the graph is.
    """

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        keep: object = None,
        *,
        unlikeness: bool = True,
    ) -> None:
        self._session = session
        self._unlikeness = unlikeness
        self._keep = keep
        self._readouts = Readouts(session, manifest)
        self.manifest = manifest

    @property
    def session(self) -> Session:
        """The backend at work, for those who measure it."""
        return self._session

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks in the order in which results list them, the readouts' last."""
        own = (task.name for task in self.manifest.tasks)
        return (*own, *(readout.name for readout in self.readouts))

    @property
    def readouts(self) -> tuple[ReadoutFile, ...]:
        """The readouts beside the graph's own tasks, in the order in which they were added."""
        return self._readouts.placed

    def add_readout(
        self, readout: ReadoutFile | str | os.PathLike[str], *, replace: bool = False
    ) -> ReadoutFile:
        """Answer one task more, from the next call on; calls under way are not held up.

        Args:
            readout: What :func:`snow_runtime.fit` returned, or a file of it.
            replace: Whether it may take the place of a readout of its name.

        Returns:
            The readout.

        Raises:
            ReadoutError: It cannot be read, is for another source, preprocessing or taps, answers
                otherwise than where it was fitted, its name is taken, or the graph gives out no
                features. Nothing was changed.
            GraphError: The model is closed, or the computation failed.
        """
        return self._readouts.add(readout, replace=replace)

    def check_readout(self, readout: ReadoutFile) -> None:
        """Check that a readout could answer; it is not added.

        Raises:
            ReadoutError: It is for another source, preprocessing or taps, answers otherwise than
                where it was fitted, or the graph gives out no features.
            GraphError: The model is closed, or the computation failed.
        """
        self._readouts.check(readout)

    def remove_readout(self, name: str) -> None:
        """Answer one task less, from the next call on.

        Raises:
            ReadoutError: There is no readout of this name.
        """
        self._readouts.remove(name)

    def __call__(self, image: Picture, colour: Colour = "rgb") -> Result:
        """Answer every task about one picture.

        Args:
            image: A PIL image, or a uint8 array `[H, W, 3]` with values 0 to 255.
            colour: Order of an array's channels; OpenCV's frames are ``"bgr"``.

        Returns:
            The float32 probabilities by task, `[C]` over its labels, and the call's latency.

        Raises:
            InputError: The picture has another type, shape or dtype.
            GraphError: The model is closed, or the computation failed.
        """
        return self.answer(self.prepare([image], colour))[0]

    def batch(self, images: Iterable[Picture], colour: Colour = "rgb") -> list[Result]:
        """Answer every task about several pictures together.

        A graph of one batch size runs as often as they need; what is missing in the last run is
        filled up.

        Args:
            images: Each as in a single call; their sizes may differ.
            colour: Order of the arrays' channels.

        Returns:
            One result a picture, in order; all carry the latency of the whole batch.

        Raises:
            InputError: A picture has another type, shape or dtype; the message says which one.
            GraphError: The model is closed, or the computation failed.
        """
        return self.answer(self.prepare(images, colour))

    def prepare(self, images: Iterable[Picture], colour: Colour = "rgb") -> Prepared:
        """Do the part of :meth:`batch` that comes before the computation.

        One thread can prepare the next frames while another one lets :meth:`answer` compute.

        Args:
            images: Pictures, as for :meth:`batch`.
            colour: Order of the arrays' channels.

        Raises:
            InputError: A picture has another type, shape or dtype; the message says which one.
        """
        return make_ready(self.manifest, tuple(images), colour)

    def answer(self, prepared: Prepared) -> list[Result]:
        """Do the rest of :meth:`batch`: the computation.

        Args:
            prepared: What this model's :meth:`prepare` returned; what a model with another input or
                preprocessing prepared is prepared anew.

        Returns:
            One result a picture, in order; all carry the time of preparing and of computing, but
            not of waiting in between.

        Raises:
            InputError: A picture cannot be prepared anew.
            GraphError: The model is closed, or the computation failed.
        """
        return self.answer_with_outputs(prepared)[0]

    def answer_with_outputs(
        self, prepared: Prepared
    ) -> tuple[list[Result], dict[str, NDArray[np.float32]]]:
        """Do what :meth:`answer` does, and give out what it was made of.

        Args:
            prepared: What :meth:`prepare` returned, as for :meth:`answer`.

        Returns:
            The results, and what the graph gave by output: float32 `[B, C]` logits of a task,
            `[B, F]` features where the graph gives them.

        Raises:
            InputError: A picture cannot be prepared anew.
            GraphError: The model is closed, or the computation failed.
        """
        if not prepared.fits(self.manifest):
            prepared = self.prepare(prepared.images, prepared.colour)
        if not prepared.images:
            return [], {}
        start = time.perf_counter() - prepared.took_s
        readouts = self.readouts  # one look: others may be added or removed meanwhile
        outputs = run_in_parts(self._session, prepared.batch)
        normed: dict[tuple[str, ...], NDArray[np.float32]] = {}
        answers = [
            (
                task,
                to_probabilities(logits, task.answers, task.temperature),
                task_unlikenesses(task, logits, self.manifest, outputs, normed)
                if self._unlikeness
                else None,
            )
            for task, logits in task_logits(readouts, self.manifest, outputs)
        ]
        rows = [
            [
                # A copy: a kept result must not keep the whole batch's array alive.
                TaskResult(
                    *(task.name, task.labels, table[index].copy(), task.answers, task.confidence),
                    unlikeness=None if unlike is None else float(unlike[index]),
                )
                for task, table, unlike in answers
            ]
            for index in range(len(prepared.images))
        ]
        latency_ms = (time.perf_counter() - start) * 1000
        return [Result(row, latency_ms) for row in rows], outputs

    def features(self, images: Iterable[Picture], colour: Colour = "rgb") -> NDArray[np.float32]:
        """Give the source's pooled features of pictures, which readouts read.

        Args:
            images: Pictures, as for :meth:`batch`.
            colour: Order of the arrays' channels.

        Returns:
            float32 `[B, F]`, F being the channels of all taps of the manifest's ``features``.

        Raises:
            ReadoutError: The graph gives none out.
            InputError: A picture has another type, shape or dtype; the message says which one.
            GraphError: The model is closed, or the computation failed.
        """
        entry = features_of(self.manifest)
        prepared = self.prepare(images, colour)
        if not prepared.images:
            return np.empty((0, entry.width), np.float32)
        return run_in_parts(self._session, prepared.batch)[entry.output]

    def warmup(self, runs: int = 1) -> None:
        """Run on a black picture, so that the first real call is not the slow one.

        Raises:
            GraphError: The model is closed, or the computation failed.
        """
        size = self.manifest.preprocessing.image_size
        entry = self.manifest.input
        shape = (self._session.batch_size or 1, *entry.picture_shape(size))
        batch = np.zeros(shape, entry.dtype)
        for _ in range(runs):
            self._session.run(batch)

    def self_check(self) -> None:
        """Compare the answers about the check picture with those that the manifest carries.

        Raises:
            GraphError: They are beyond rounding: damaged weights, a miscompiled kernel, ...
        """
        self_check(self._session, self.manifest)

    def close(self) -> None:
        """Let go of the backend's memory; calling the model afterwards raises GraphError."""
        self._session.close()
