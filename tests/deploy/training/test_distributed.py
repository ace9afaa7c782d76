"""Two processes on the CPU, started by torchrun: one task, trained once."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from snow_deploy.cli import main
from snow_deploy.data import open_data
from snow_deploy.models.source import Source
from snow_deploy.training.measure import measure
from snow_deploy.training.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.task_record import TaskRecord

pytestmark = pytest.mark.slow

# A command for one process, then the training: each process writes the weights that it ends with.
COMMAND = """
import os, sys
import torch
from pathlib import Path
from click.testing import CliRunner
from safetensors.torch import save_file
from snow_deploy.cli import main
from snow_deploy.models import pooling
from snow_deploy.training import module, run
from snow_deploy.training.learner import Learner

begin_step, average_gradients, draw = Learner.begin_step, module.average_gradients, pooling._draw
weights, gradients, chosen = [], [], []

def begun(self):
    begin_step(self)
    weights[:] = [pooling.weight for pooling in self.network.poolings().values()]

def drawn(poolings):
    found = list(draw(poolings))
    if poolings[0].training:
        chosen.extend(torch.cat([each.picks[0], each.weights]).detach() for each in found)
    return iter(found)

def averaged(parameters):
    gradients.append(torch.cat([weight.grad for weight in weights]))
    average_gradients(parameters)
    gradients.append(torch.cat([weight.grad for weight in weights]))

Learner.begin_step, module.average_gradients, pooling._draw = begun, averaged, drawn
train_tasks = run.train_tasks

def recorded(*arguments):
    outcome = train_tasks(*arguments)
    (record,) = outcome.records
    rank = os.environ["RANK"]
    state = {key: value.contiguous() for key, value in record.state.items()}
    save_file(state, Path(sys.argv[-1]) / f"rank{rank}.safetensors")
    noted = {"gradients": torch.stack(gradients), "chosen": torch.cat(chosen).reshape(4, -1)}
    save_file(noted, Path(sys.argv[-1]) / f"noted{rank}.safetensors")
    return outcome

folder = Path(sys.argv[-1])
refused = CliRunner().invoke(main, ["paper", "table5", "-o", str(folder / "paper")])
(folder / f"refused{os.environ['RANK']}.txt").write_text(f"{refused.exit_code} {refused.stderr}")
run.train_tasks = recorded
main(sys.argv[1:-1])
"""


@dataclass
class TrainingOutcome:
    """What the two processes left."""

    stdout: list[str]
    stderr: str
    states: list[dict[str, Tensor]]
    noted: list[dict[str, Tensor]]
    folder: Path
    record: TaskRecord
    store: Store
    photos: Path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 2 x 13 training pictures, two of them broken, and 2 x 4 test pictures, one broken."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", 13), ("test", 4)):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{number}.png")
    for broken in ("train/cat/2.png", "train/dog/9.png", "test/dog/1.png"):
        (root / broken).write_bytes(b"not a picture")
    return root


@pytest.fixture(scope="module")
def outcome(
    tmp_path_factory: pytest.TempPathFactory, weights: SourceWeights, photos: Path
) -> TrainingOutcome:
    folder = tmp_path_factory.mktemp("two")
    script = folder / "command.py"
    script.write_text(COMMAND)
    store = Store(folder / "store")
    store.put_source(weights)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    train = ["train", "--task", "pets", "--data", f"imagefolder:{photos}", "--lr", "0.02"]
    size = ["--epochs", "2", "--batch-size", "6", "--image-size", "32", "--workers", "0"]
    rest = ["--precision", "fp32", "--store", str(store.root), str(folder)]
    completed = subprocess.run(
        [sys.executable, *torchrun, *train, *size, *rest],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert completed.returncode == 0, completed.stderr
    return TrainingOutcome(
        completed.stdout.splitlines(),
        completed.stderr,
        [load_file(folder / f"rank{rank}.safetensors") for rank in (0, 1)],
        [load_file(folder / f"noted{rank}.safetensors") for rank in (0, 1)],
        folder,
        store.load_task("pets"),
        store,
        photos,
    )


def test_both_processes_end_with_the_same_weights(outcome: TrainingOutcome) -> None:
    one, other = outcome.states
    stored = outcome.record.state

    assert one.keys() == other.keys() == stored.keys()
    for key, value in stored.items():
        assert value.isfinite().all()
        assert torch.equal(one[key], value), key
        assert torch.equal(other[key], value), key


def test_both_processes_explore_the_same_channels(outcome: TrainingOutcome) -> None:
    """A channel that one of two had chosen alone would get half of its gradient."""
    one, other = (each["chosen"] for each in outcome.noted)

    assert len(one) == 4  # of two epochs with two steps each: channels and noisy weights
    assert torch.equal(one, other)
    assert len({tuple(step.tolist()) for step in one}) == 4


def test_gradients_are_means_over_the_processes(outcome: TrainingOutcome) -> None:
    one, other = (each["gradients"] for each in outcome.noted)

    assert not torch.equal(one[::2], other[::2])  # of other pictures
    torch.testing.assert_close(one[1::2], (one[::2] + other[::2]) / 2)
    assert torch.equal(one[1::2], other[1::2])


def test_the_weights_were_trained(outcome: TrainingOutcome, weights: SourceWeights) -> None:
    pooling = [value for key, value in outcome.record.state.items() if value.ndim == 1]

    assert outcome.record.source_sha256 == weights.fingerprint()
    assert any((value != value[0]).any() for value in pooling)


def test_every_line_is_printed_once(outcome: TrainingOutcome) -> None:
    starts = [" ".join(line.split()[:2]) for line in outcome.stdout]

    ends = ["task pets:"] * 2  # accuracy, and temperature with calibration error
    assert starts == ["task pets:", "epoch 1/2", "epoch 2/2", *ends]


def test_the_learning_rate_is_that_of_the_whole_batch(outcome: TrainingOutcome) -> None:
    with (outcome.store.run_path("pets") / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert [float(row["lr"]) for row in rows] == pytest.approx([0.04, 0.04])
    assert "learning rate 0.04" in outcome.stdout[0]


def test_unreadable_pictures_of_both_processes_are_counted(outcome: TrainingOutcome) -> None:
    with (outcome.store.run_path("pets") / "curve.csv").open(newline="") as file:
        skipped = [int(row["skipped"]) for row in csv.DictReader(file)]

    assert skipped[-1] == outcome.record.metrics["skipped"]
    assert 2 <= skipped[-1] <= 3  # a training picture may be in a batch that is dropped
    for broken in ("test/dog/1.png",):
        assert outcome.stderr.count(f"cannot be read: {outcome.photos / broken}") == 1


def test_the_measured_figures_are_of_all_test_pictures(outcome: TrainingOutcome) -> None:
    record = outcome.record
    source = Source(outcome.store.source_weights())
    delta = record.build(source)

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.delta = delta

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = delta(images, source(images))
            return logits

    pictures = open_data(f"imagefolder:{outcome.photos}").final[1]
    found, unreadable = measure(Whole(), pictures, record.preprocessing, workers=0)
    loss, accuracy = found.loss, found.accuracy

    assert record.metrics["loss"] == pytest.approx(loss, rel=1e-5)
    assert record.metrics["accuracy"] == pytest.approx(accuracy)
    assert len(unreadable) == 1
    assert "linear_accuracy" in record.metrics


def test_other_commands_are_refused(outcome: TrainingOutcome) -> None:
    for rank in (0, 1):
        code, _, said = (outcome.folder / f"refused{rank}.txt").read_text().partition(" ")
        assert code == "2"
        assert "paper works in one process, and torchrun has started 2." in said
    assert not (outcome.folder / "paper").exists()


# One of two machines' process; the second one ends by SIGKILL when its second epoch begins.
MACHINE = """
import os, signal, sys
from snow_deploy.cli import main
from snow_deploy.training.module import TaskModule

began = TaskModule.on_train_epoch_start

def dying(self):
    if self.current_epoch == 1 and self.global_rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    began(self)

if "--resume" not in sys.argv:
    TaskModule.on_train_epoch_start = dying
main(sys.argv[1:])
"""


def on_two_machines(folder: Path, arguments: list[str]) -> list[tuple[int | None, str]]:
    """Start what torchrun starts on each of two machines, which are both this one.

    Its agents, which import torch too, are left out: `--nnodes 2 --nproc-per-node 1` sets these.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    machines = []
    for rank in ("0", "1"):
        told = {
            "TORCHELASTIC_RUN_ID": "test",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "RANK": rank,
            "GROUP_RANK": rank,
            "LOCAL_RANK": "0",
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "1",
            "GROUP_WORLD_SIZE": "2",
        }
        machines.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder,
                env={**os.environ, **told},
            )
        )
    said = [machine.communicate(timeout=120)[1] for machine in machines]
    return [(machine.returncode, text) for machine, text in zip(machines, said, strict=True)]


def test_two_machines_train_as_two_processes_also_when_one_dies_and_they_go_on(
    outcome: TrainingOutcome, weights: SourceWeights, tmp_path: Path
) -> None:
    script = tmp_path / "machine.py"
    script.write_text(MACHINE)
    store = Store(tmp_path / "store")
    store.put_source(weights)
    train = ["train", "--task", "pets", "--data", f"imagefolder:{outcome.photos}", "--lr", "0.02"]
    size = ["--epochs", "2", "--batch-size", "6", "--image-size", "32", "--workers", "0"]
    command = [str(script), *train, *size, "--precision", "fp32", "--store", str(store.root)]

    (left, said), (died, _) = on_two_machines(tmp_path, command)

    assert died == -signal.SIGKILL
    assert left == 1
    error = next(line for line in said.splitlines() if line.startswith("error: "))
    assert "another process of this run has ended, or its machine cannot be reached" in error
    assert "--resume" in error
    assert not (store.root / "tasks").exists() or not list((store.root / "tasks").iterdir())

    assert [code for code, _ in on_two_machines(tmp_path, [*command, "--resume"])] == [0, 0]
    found = store.load_task("pets").state
    for key, value in outcome.record.state.items():
        assert torch.equal(found[key], value), key


def test_machines_without_a_shared_store_are_told_so(
    weights: SourceWeights, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    store.put_source(weights)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    found = CliRunner().invoke(
        main,
        [
            *("train", "--task", "pets", "--data", f"imagefolder:{photos}", "--image-size", "32"),
            *("--store", str(store.root), "--resume"),
        ],
    )

    assert found.exit_code == 1
    assert "put the --store on a disk that all of them share" in found.stderr
