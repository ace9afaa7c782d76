"""Bytes that a box downloads for what changes in a release: a readout, a delta, the source.

    python benchmarks/update_bytes.py [--weights resnet50.safetensors]

The graph has the source's weights in fp32, random ones without `--weights`, and three deltas of
4 MB each, drawn at random: trained ones hardly compress either. It is published to a folder,
and a box takes it from there.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from snow_deploy.fleet.keys import KeyFolders, Signing
from snow_deploy.fleet.make_release import ReleaseRequest, publish_release
from snow_deploy.fleet.publication import Publication
from snow_deploy.fleet.waves import go_on
from snow_runtime.graph.features_entry import FeaturesEntry, TapEntry
from snow_runtime.graph.manifest import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Manifest,
    Preprocessing,
    SourceEntry,
    TaskEntry,
)
from snow_runtime.graph.onnx_file import read_graph, with_manifest
from snow_runtime.readout.facts import FitEntry, ReadoutFacts
from snow_runtime.readout.file import ReadoutFile
from snow_runtime.update.agent import Agent
from snow_runtime.update.agent_options import AgentOptions
from snow_runtime.update.box import Box
from snow_runtime.update.program import CommandProgram
from snow_runtime.update.transport import FolderTransport
from snow_runtime.update.wanted import ROLLOUT

DELTA = (8, 128, 1024)  # tensors, and their shape: 4.2 MB
FEATURES = 2048


def source_weights(path: Path | None) -> dict[str, np.ndarray]:
    """Read a source's weights in fp32, or draw 100 MB of them."""
    if path is not None:
        return {name: each.astype(np.float32) for name, each in load_file(path).items()}
    draw = np.random.default_rng(0)
    shape = (512, 512, 1, 1)
    return {f"conv{n}": draw.normal(0, 0.02, shape).astype(np.float32) for n in range(96)}


def save_graph(path: Path, source: dict[str, np.ndarray], seeds: tuple[int, ...]) -> None:
    """Write a graph with the source's weights and a delta for each seed."""
    tensors = [numpy_helper.from_array(each, name) for name, each in source.items()]
    tasks = []
    for number, seed in enumerate(seeds):
        draw = np.random.default_rng(seed)
        for index in range(DELTA[0]):
            values = draw.normal(0, 0.02, DELTA[1:]).astype(np.float32)
            tensors.append(numpy_helper.from_array(values, f"task{number}.conv{index}"))
        tasks.append(TaskEntry(f"task{number}", f"task{number}", ("yes", "no")))
    outputs = [(task.output, 2) for task in tasks] + [("source.features", FEATURES)]
    shape = ("batch", 3, 224, 224)
    nodes = [helper.make_node("Identity", ["image"], [name]) for name, _ in outputs]
    graph = helper.make_graph(
        nodes,
        "source and deltas",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("batch", w)) for n, w in outputs],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    manifest = Manifest(
        SourceEntry("resnet50", "a" * 64, sum(each.size for each in source.values())),
        Preprocessing(224, 224, IMAGENET_MEAN, IMAGENET_STD),
        tuple(tasks),
        features=FeaturesEntry("source.features", (TapEntry("layer4", FEATURES),)),
    )
    onnx.save(with_manifest(model, manifest), path)


def save_readout(folder: Path, graph: Path, number: int) -> Path:
    """Write a readout of five answers that reads every feature."""
    manifest = read_graph(graph).manifest
    draw = np.random.default_rng(100 + number)
    name, labels = f"readout{number}", ("a", "b", "c", "d", "e")
    chosen = {"layer4": tuple(range(FEATURES))}
    entry = TaskEntry(name, name, labels, selections=chosen, scheme="readout")
    facts = ReadoutFacts(
        entry,
        manifest.source,
        manifest.preprocessing,
        manifest.features.taps,
        manifest.precision,
        (0.0,) * len(labels),
        FitEntry(50, (10,) * 5, 0.9, 0.02, 0.1),
        {"snow-deploy": "1"},
    )
    weight = draw.normal(size=(len(labels), FEATURES)).astype(np.float32)
    path = folder / f"{name}.readout"
    ReadoutFile(facts, weight, np.zeros(len(labels), np.float32)).write(path)
    return path


def main() -> None:
    """Publish one release after another, and count what a box reads for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="The source's, safetensors.")
    source = source_weights(parser.parse_args().weights)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "passphrase").write_text("for this measurement", encoding="utf-8")
        keys = KeyFolders((folder / "keys",), folder / "passphrase")
        publication = Publication(folder / "public", Signing(keys))
        publication.create({}, {}, {})
        transport = FolderTransport(folder / "public")
        root = folder / "public" / "metadata" / "1.root.json"
        options = AgentOptions("box", root=root)
        box, program = Box(folder / "box"), CommandProgram([])
        agent = Agent(box, transport, program, options, try_out=lambda *_: None)
        graph = folder / "snow.onnx"
        print(f"{'release':34} {'files MB':>9} {'read MB':>9}")
        for title, seeds, count in (
            ("the first", (1, 2, 3), 0),
            ("one delta changed", (1, 2, 4), 0),
            ("one delta more", (1, 2, 4, 5), 0),
            ("one readout, 41 kB", (1, 2, 4, 5), 1),
            ("one readout more", (1, 2, 4, 5), 2),
        ):
            save_graph(graph, source, seeds)
            readouts = tuple(save_readout(folder, graph, number) for number in range(count))
            before = transport.received_bytes
            name = re.sub(r"\W+", "-", title)
            request = ReleaseRequest(name, graph, readouts, watch_s=0)
            done = publish_release(publication, request)
            publication.publish({ROLLOUT: go_on(publication.rollout()).to_json().encode()})
            while agent.step() != "settled":
                if agent.error is not None:
                    sys.exit(agent.error)
            size, read = done.release.size_bytes, transport.received_bytes - before
            print(f"{title:34} {size / 1e6:9.2f} {read / 1e6:9.3f}")


if __name__ == "__main__":
    main()
