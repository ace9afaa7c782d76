"""The figures that the paper prints, each under the number of its table.

Accuracies are in percent, speeds in images a second, memory in GB, parameters in millions, all on
one Tesla V100. Data sets and schemes have the names that the commands give them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATA: Final = ("food", "dtd", "action", "car", "cub")
TITLES: Final = {"food": "Food", "dtd": "DTD", "action": "Action", "car": "Car", "cub": "CUB"}
READERS: Final = {
    "food101": "food",
    "dtd": "dtd",
    "stanford40": "action",
    "stanfordcars": "car",
    "cub200": "cub",
}
"""Which of the paper's data sets a kind of `--data` reads."""

ARCHITECTURE: Final = "resnet50"
SOURCE_CLASSES: Final = 1000
CLASSES: Final = (101, 47, 40, 196, 200)
"""Table 3, in the order of `DATA`."""
PICTURES: Final = {
    "food": (75_750, 25_250),
    "dtd": (3_760, 1_880),
    "action": (4_000, 5_532),
    "car": (8_144, 8_041),
    "cub": (5_994, 5_794),
}
"""Table 3: training and test pictures."""

RATES: Final = {
    "fo": (256, 0.1),
    "fe": (256, 0.1),
    "ft": (128, 0.05),
    "mp": (96, 0.0375),
    "pn": (96, 0.0375),
    "snow-256": (256, 1.0),
    "snow-128": (128, 0.5),
    "lf": (128, 0.005),
}
"""Figure 4, and of LF appendix A.3: pictures a step and the initial rate."""
SIGMA2: Final = {"food": 1e-3, "dtd": 1e-3, "action": 1e-8, "car": 1e-3, "cub": 1e-3}
"""Section 3.1: the variance of the pooling's noise."""
LF_WEIGHT: Final = 1.0
"""Appendix A.3: lambda 0, of the old tasks' loss."""

WORDS: Final = {
    "fo": ("poor", "no", "good", "good", "good"),
    "fe": ("medium", "no", "good", "good", "good"),
    "ft": ("good", "no", "poor", "poor", "poor"),
    "mp": ("good", "no", "poor", "poor", "good"),
    "lf": ("medium", "yes", "poor", "good", "good"),
    "pn": ("good", "no", "poor", "poor", "poor"),
    "snow": ("good", "no", "good", "good", "good"),
}
"""Table 1: accuracy, forgetting, efficiency of training, of serving and of model size."""

OVERHEAD: Final = {
    "conv1x1": ("O(N·K)", "convolution"),
    "attention": ("O(N²)", "matrix product"),
    "pooling": ("O(N)", "channel-wise product"),
}
"""Table 2: parameters of a subscription to N channels, and what it computes."""

SENSITIVITY: Final[Mapping[str, Mapping[float, tuple[float, float]]]] = {
    "k": {4: (83.10, 96.93), 8: (83.79, 96.94), 16: (83.39, 96.93)},
    "width": {4: (79.02, 96.00), 8: (83.79, 96.94), 16: (80.36, 95.93)},
    "sigma": {
        1e-1: (81.27, 95.85),
        1e-3: (83.79, 96.94),
        1e-5: (83.45, 96.99),
        1e-7: (83.35, 96.88),
    },
}
"""Table 4: top-1 and top-5 on Car, one option at a time. The table's third heading is σ; that σ² is
meant shows section 3.1, which has σ² = 0.001 for the run of 83.79."""

PARAMETERS: Final = {
    "fo": 26.8,
    "fe": 28.3,
    "ft": 144.3,
    "mp": 26.9,
    "pn": 257.4,
    "snow": 30.8,
}
"""Table 5: of the source and five tasks."""
SERVING: Final = {
    "fo": 7060.8,
    "fe": 5626.6,
    "ft": 632.9,
    "mp": 304.3,
    "pn": 169.5,
    "snow": 4731.0,
}
"""Table 5: images a second that get all six answers."""

SUBSCRIPTION_PARAMETERS: Final = {"conv1x1": 14.0, "attention": 35.0, "all": 17.5, "pooling": 5.5}
"""Table 6: of the five deltas together."""
SUBSCRIPTION_ACCURACIES: Final = {
    "conv1x1": {"food": 82.82, "dtd": 74.73, "action": 78.29, "car": 77.07, "cub": 73.20},
    "attention": {"food": 84.05, "dtd": 74.06, "action": 79.50, "car": 82.94, "cub": 75.51},
    "all": {"food": 82.80, "dtd": 73.78, "action": 78.85, "car": 76.47, "cub": 72.80},
    "pooling": {"food": 84.06, "dtd": 72.37, "action": 78.48, "car": 83.79, "cub": 75.81},
}
"""Table 6: top-1."""
SUBSCRIPTION_SERVING: Final = {"attention": 1101.8, "pooling": 4731.0}
"""Section 3.4: images a second of six tasks."""

ACCURACIES: Final = {
    "fo": {
        "food": (70.76, 90.55),
        "dtd": (70.81, 91.65),
        "action": (76.41, 95.58),
        "car": (51.96, 78.68),
        "cub": (65.96, 89.90),
    },
    "fe": {
        "food": (82.24, 95.84),
        "dtd": (71.45, 92.40),
        "action": (73.97, 93.64),
        "car": (74.05, 94.12),
        "cub": (67.16, 91.27),
    },
    "ft": {
        "food": (87.63, 97.32),
        "dtd": (61.56, 85.01),
        "action": (75.40, 93.02),
        "car": (90.26, 98.62),
        "cub": (77.93, 93.37),
    },
    "mp": {
        "food": (81.97, 95.68),
        "dtd": (72.41, 92.88),
        "action": (81.51, 95.44),
        "car": (81.42, 96.00),
        "cub": (77.22, 94.24),
    },
    "pn": {
        "food": (86.19, 96.97),
        "dtd": (74.32, 92.34),
        "action": (79.99, 94.41),
        "car": (86.26, 97.71),
        "cub": (76.51, 93.63),
    },
    "snow-256": {
        "food": (84.06, 96.47),
        "dtd": (72.37, 92.02),
        "action": (78.48, 95.04),
        "car": (83.79, 96.94),
        "cub": (75.81, 94.05),
    },
    "snow-128": {
        "food": (84.20, 96.52),
        "dtd": (73.98, 93.06),
        "action": (79.28, 95.25),
        "car": (83.69, 97.04),
        "cub": (75.51, 93.87),
    },
}
"""Table 7: top-1 and top-5."""

TRAINING: Final = {
    "fo": {
        "food": (1076.08, 4.17),
        "dtd": (1089.83, 4.40),
        "action": (1106.31, 4.31),
        "car": (1085.67, 4.24),
        "cub": (1102.50, 4.61),
    },
    "fe": {
        "food": (1205.84, 4.05),
        "dtd": (1205.84, 4.31),
        "action": (1230.77, 4.02),
        "car": (1209.26, 4.17),
        "cub": (1219.63, 4.31),
    },
    "ft": {
        "food": (356.84, 13.74),
        "dtd": (357.94, 13.74),
        "action": (359.13, 13.83),
        "car": (358.74, 13.75),
        "cub": (358.24, 14.66),
    },
    "mp": {
        "food": (391.36, 14.57),
        "dtd": (393.60, 14.68),
        "action": (394.25, 14.69),
        "car": (388.66, 14.67),
        "cub": (392.96, 13.72),
    },
    "pn": {
        "food": (189.69, 15.29),
        "dtd": (189.09, 15.60),
        "action": (189.50, 15.29),
        "car": (185.01, 15.72),
        "cub": (187.24, 15.56),
    },
    "snow-256": {
        "food": (947.80, 4.40),
        "dtd": (959.16, 4.40),
        "action": (949.55, 4.26),
        "car": (965.31, 4.25),
        "cub": (970.06, 4.27),
    },
    "snow-128": {
        "food": (871.34, 2.92),
        "dtd": (873.12, 2.8),
        "action": (868.97, 2.8),
        "car": (885.20, 2.8),
        "cub": (880.94, 2.9),
    },
}
"""Table 8: images a second and memory of training, at the batches of `RATES`. The last digits of
FO's memory and of SNOW-128's are cut in the text that we have."""

LEARNED: Final = {
    "a": {
        "car": (81.87, 28.40, 22.78, 22.44, 15.31),
        "action": (77.08, 68.87, 62.60, 56.36),
        "cub": (70.94, 46.12, 32.91),
        "dtd": (71.93, 39.29),
        "food": (79.71,),
    },
    "b": {
        "action": (80.63, 72.31, 66.74, 55.5, 57.36),
        "cub": (75.91, 54.33, 52.19, 36.00),
        "dtd": (73.26, 43.27, 40.78),
        "car": (73.77, 16.33),
        "food": (79.10,),
    },
}
"""Table 9: by order and data set, LF's top-1 when it was learned and after each one since."""
LF_TRAINING: Final = (272.69, 13.99)
"""Appendix A.3: images a second and memory of LF."""


def dataset(spec: str) -> str | None:
    """Return the paper's name of what a `--data` spec reads; None where the paper has no such."""
    return READERS.get(spec.partition(":")[0])


def row_of(scheme: str, batch: int) -> str:
    """Return the row of Tables 7 and 8 that a contender's accuracies may stand beside.

    SNOW has two, at 256 and at 128; at any other batch it stands beside SNOW-256.
    """
    if scheme == "snow":
        return "snow-128" if batch == RATES["snow-128"][0] else "snow-256"
    return scheme


def row_at(scheme: str, batch: int) -> str | None:
    """Return the row of a contender's costs; None where the paper has it at another batch."""
    row = row_of(scheme, batch)
    return row if row in RATES and RATES[row][0] == batch else None


def as_share(percent: float | None) -> float | None:
    """Return 0 to 1."""
    return None if percent is None else percent / 100


def papers_forgotten(order: str) -> float:
    """Return, in points, what LF has forgotten of the earlier data sets at the end of an order."""
    lost = [values[0] - values[-1] for values in LEARNED[order].values() if len(values) > 1]
    return sum(lost) / len(lost)


def learned_steps(order: str) -> list[dict[str, float]]:
    """Return Table 9 step by step: after each data set, LF's top-1 on those so far, 0 to 1."""
    by_data = LEARNED[order]
    names = list(by_data)
    return [
        {
            data: by_data[data][place - number] / 100
            for number, data in enumerate(names[: place + 1])
        }
        for place in range(len(names))
    ]


def training(row: str) -> tuple[float, float] | None:
    """Return the speed and memory of a row of Table 8 on Food, or LF's.

    Of Food's figures the text that we have cuts one digit, the last of FO's memory.
    """
    if row == "lf":
        return LF_TRAINING
    by_data: Mapping[str, tuple[float, float]] | None = TRAINING.get(row)
    return None if by_data is None else by_data["food"]


def is_papers(architecture: str, source_classes: int, classes: Sequence[int]) -> bool:
    """Tell whether parameters are counted for the networks that the paper counts."""
    same = sorted(classes) == sorted(CLASSES)
    return same and (architecture, source_classes) == (ARCHITECTURE, SOURCE_CLASSES)
