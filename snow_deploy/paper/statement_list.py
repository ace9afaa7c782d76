"""The statements of sections 3.1 to 3.4 that can be checked, each as a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from snow_deploy.paper import printed
from snow_deploy.paper import statement_values as values

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_deploy.paper.stored_tables import Tables

TOLERANCE: Final = 0.05
"""Of the stated figure: so far short of it still agrees."""


@dataclass(frozen=True)
class Statement:
    """One statement of the paper, as a figure.

    Attributes:
        section: Where it stands.
        text: What it says of the figure.
        says: The figure: as it is stated, or the bound that its words set.
        holds: Whether what is measured is to be that large at least, or at most; or, where its
            words are of an order such as faster and slower, `more` or `less`, without a tolerance.
        papers: The same from its own tables; None where only a figure shows it.
        ours: Function that reads the same from our tables; None where they lack it.
        table: The command whose table it is from.
        remark: Why its own tables, or other conditions, may give something else.
    """

    section: str
    text: str
    says: float
    holds: Literal["least", "most", "more", "less"]
    papers: float | None
    ours: Callable[[Tables], float | None]
    table: str
    remark: str = ""

    def agrees(self, value: float | None) -> str | None:
        """Tell whether a measured figure bears the statement out."""
        if value is None:
            return None
        slack = TOLERANCE * abs(self.says)
        fits = {
            "least": value >= self.says - slack,
            "most": value <= self.says + slack,
            "more": value > self.says,
            "less": value < self.says,
        }
        return "yes" if fits[self.holds] else "no"


def _training_cost() -> list[Statement]:
    """Return the statements of section 3.1 on the throughput and memory of training."""
    snow = printed.TRAINING["snow-256"]["car"]
    over = {name: snow[0] / printed.TRAINING[name]["car"][0] for name in ("ft", "mp", "pn")}
    at_128, ft = printed.TRAINING["snow-128"]["food"], printed.TRAINING["ft"]["food"]
    return [
        Statement(
            "3.1",
            "SNOW-256's training throughput over the faster of FT and MP, up to",
            2.4,
            "least",
            min(over["ft"], over["mp"]),
            values.training_over(("ft", "mp")),
            "table8",
            "2.44 is SNOW-128 over FT at equal batch",
        ),
        Statement(
            "3.1",
            "SNOW-256's training throughput over PN's",
            5.2,
            "least",
            over["pn"],
            values.training_over(("pn",)),
            "table8",
        ),
        Statement(
            "3.1",
            "2x to 5x higher training throughput: SNOW-256's over the fastest of FT, MP and PN",
            2.0,
            "least",
            min(over.values()),
            values.training_over(("ft", "mp", "pn")),
            "table8",
        ),
        Statement(
            "3.1",
            "PN is the slowest: its training throughput over the next slowest one's, below",
            1.0,
            "less",
            printed.TRAINING["pn"]["car"][0] / printed.TRAINING["ft"]["car"][0],
            values.training_over_slowest("pn"),
            "table8",
        ),
        Statement(
            "3.1",
            "FO and FE show marginally higher throughput: the slower one's over SNOW-256's, above",
            1.0,
            "more",
            min(printed.TRAINING[name]["car"][0] for name in ("fo", "fe")) / snow[0],
            values.training_least_lead(("fo", "fe"), "snow"),
            "table8",
            "stated without a figure; on Car FO has 1.12 and FE 1.25 of it",
        ),
        Statement(
            "3.1",
            "MP is slower than FT: its training throughput over FT's, below",
            1.0,
            "less",
            printed.TRAINING["mp"]["food"][0] / ft[0],
            values.training_of("mp", "ft"),
            "table8",
            "Table 8 has MP at 96 faster than FT at 128, on every data set",
        ),
        Statement(
            "3.1",
            "less memory for a given batch: SNOW's over FT's",
            at_128[1] / ft[1],
            "most",
            at_128[1] / ft[1],
            values.equal_memory,
            "table8",
            "stated without a figure; Table 8 has both at a batch of 128",
        ),
    ]


def _trained_accuracy() -> list[Statement]:
    """Return the statements of section 3.1 on the accuracy that is reached, and when."""
    return [
        Statement(
            "3.1",
            "FO loses to SNOW-256, points, up to",
            31.8,
            "least",
            values.most_behind(printed.ACCURACIES, "fo"),
            values.behind("fo"),
            "table7",
            "on Car; on DTD and Action FO loses 1.6 and 2.1",
        ),
        Statement(
            "3.1",
            "FE loses to SNOW-256, points, up to",
            9.7,
            "least",
            values.most_behind(printed.ACCURACIES, "fe"),
            values.behind("fe"),
            "table7",
            "on Car; on Food and DTD FE loses 1.8 and 0.9",
        ),
        Statement(
            "3.1",
            "all converge around epoch",
            values.CONVERGED,
            "most",
            None,
            values.converged,
            "figure6",
            "of 180 epochs, with a tenth of the rate every 30; runs of 60 or fewer cannot tell",
        ),
    ]


def _sensitivity() -> list[Statement]:
    """Return the statements of section 3.2, on hyper-parameters."""
    return [
        Statement(
            "3.2",
            "K = N/8 is the best: its top-1 over the best other K's, points",
            0.0,
            "least",
            values.best_over(printed.SENSITIVITY["k"], 8),
            values.sensitivity("k", "N/8"),
            "table4",
        ),
        Statement(
            "3.2",
            "a delta of M/8 is the best: its top-1 over the best other size's, points",
            0.0,
            "least",
            values.best_over(printed.SENSITIVITY["width"], 8),
            values.sensitivity("width", "M/8"),
            "table4",
        ),
        Statement(
            "3.2",
            "σ² = 0.001 is the best: its top-1 over the best other σ²'s, points",
            0.0,
            "least",
            values.best_over(printed.SENSITIVITY["sigma"], 1e-3),
            values.sensitivity("sigma2", "0.001"),
            "table4",
        ),
    ]


def _serving() -> list[Statement]:
    """Return the statements of section 3.3, on serving."""
    serving, sizes = printed.SERVING, printed.PARAMETERS
    return [
        Statement(
            "3.3",
            "FO serves fastest: its throughput over the next one's",
            1.0,
            "more",
            serving["fo"] / max(v for name, v in serving.items() if name != "fo"),
            values.serving_over_rest("fo", max),
            "table5",
        ),
        Statement(
            "3.3",
            "FO is the smallest: its parameters over the next smallest one's, below",
            1.0,
            "less",
            sizes["fo"] / min(v for name, v in sizes.items() if name != "fo"),
            values.parameters_over_rest("fo", min),
            "table5",
        ),
        Statement(
            "3.3",
            "FO has the worst accuracy on all data sets: exceptions",
            0.0,
            "most",
            values.not_worst(printed.ACCURACIES, "fo"),
            values.exceptions("fo"),
            "table7",
            "Table 7 has FT below FO on DTD, and FE and FT below FO on Action",
        ),
        Statement(
            "3.3",
            "SNOW serves comparably with FE: its throughput over FE's",
            serving["snow"] / serving["fe"],
            "least",
            serving["snow"] / serving["fe"],
            values.serving_of("snow", "fe"),
            "table5",
        ),
        Statement(
            "3.3",
            "SNOW's throughput of serving over FT's, separate models",
            serving["snow"] / serving["ft"],
            "least",
            serving["snow"] / serving["ft"],
            values.serving_of("snow", "ft"),
            "table5",
            "six networks that become one are not much more than six times as fast by themselves",
        ),
        Statement(
            "3.3",
            "SNOW has slightly more parameters than FE: over FE's",
            sizes["snow"] / sizes["fe"],
            "most",
            sizes["snow"] / sizes["fe"],
            values.parameters_of("snow", "fe"),
            "table5",
        ),
        Statement(
            "3.3",
            "PN has the most parameters: its over the next most",
            1.0,
            "more",
            sizes["pn"] / max(v for name, v in sizes.items() if name != "pn"),
            values.parameters_over_rest("pn", max),
            "table5",
        ),
        Statement(
            "3.3",
            "FT has the second most: its parameters over the third most",
            1.0,
            "more",
            sizes["ft"] / max(v for name, v in sizes.items() if name not in {"ft", "pn"}),
            values.parameters_over_rest("ft", max, ("pn",)),
            "table5",
        ),
        Statement(
            "3.3",
            "MP suffers from poor inference: its throughput of serving over FT's, below",
            1.0,
            "less",
            serving["mp"] / serving["ft"],
            values.serving_of("mp", "ft"),
            "table5",
            "here both run six networks, and MP's have no other layers than FT's",
        ),
        Statement(
            "3.3",
            "PN has poor inference: its throughput of serving over the next slowest one's, below",
            1.0,
            "less",
            serving["pn"] / min(v for name, v in serving.items() if name != "pn"),
            values.serving_over_rest("pn", min),
            "table5",
        ),
    ]


def _subscribing() -> list[Statement]:
    """Return the statements of section 3.4, on channel pooling."""
    subscribed = printed.SUBSCRIPTION_ACCURACIES
    millions, served = printed.SUBSCRIPTION_PARAMETERS, printed.SUBSCRIPTION_SERVING
    return [
        Statement(
            "3.4",
            "selections stabilise: channels new in the last epoch over those in the first, below",
            0.5,
            "most",
            None,
            values.stabilised,
            "figure5",
            "stated without a figure; the bound is ours",
        ),
        Statement(
            "3.4",
            "channel pooling has the minimum overhead: its parameters over the next fewest, below",
            1.0,
            "less",
            millions["pooling"] / min(v for name, v in millions.items() if name != "pooling"),
            values.pooling_over_fewest,
            "table6",
        ),
        Statement(
            "3.4",
            "it has the overall best performance: mean top-1 above the best other one's, points",
            0.0,
            "more",
            values.mean_lead({k: dict(v) for k, v in subscribed.items()}, "pooling"),
            values.pooling_mean_lead,
            "table6",
            "attention's mean in Table 6 is 79.21, channel pooling's 78.90",
        ),
        Statement(
            "3.4",
            "channel pooling is the most accurate on most data sets: share of them",
            0.5,
            "more",
            values.share_best({k: dict(v) for k, v in subscribed.items()}, "pooling"),
            values.pooling_best,
            "table6",
            "Food by 0.01 points, Car and CUB",
        ),
        Statement(
            "3.4",
            "1x1 convolution's top-1 below channel pooling's, points",
            6.72,
            "least",
            subscribed["pooling"]["car"] - subscribed["conv1x1"]["car"],
            values.conv_behind,
            "table6",
            "on Car; on DTD the convolution is 2.4 ahead",
        ),
        Statement(
            "3.4",
            "it is worse than channel pooling in all aspects: data sets on which it is ahead",
            0.0,
            "most",
            values.sets_ahead({k: dict(v) for k, v in subscribed.items()}, "conv1x1", "pooling"),
            values.subscription_ahead("conv1x1", "pooling"),
            "table6",
            "DTD: 74.73 against 72.37",
        ),
        Statement(
            "3.4",
            "it is slightly more accurate than all channels: data sets on which it is behind",
            0.0,
            "most",
            values.sets_ahead({k: dict(v) for k, v in subscribed.items()}, "all", "conv1x1"),
            values.subscription_ahead("all", "conv1x1"),
            "table6",
            "Action: 78.29 against 78.85; the sentence may be of Car alone",
        ),
        Statement(
            "3.4",
            "channel pooling's serving over attention's",
            4.3,
            "least",
            served["pooling"] / served["attention"],
            values.pooling_over_attention,
            "table6",
        ),
        Statement(
            "3.4",
            "fewer parameters than attention, percent",
            84.2,
            "least",
            100 * (1 - millions["pooling"] / millions["attention"]),
            values.fewer_parameters,
            "table6",
            "Table 6's counts are met by no reading that was tried",
        ),
    ]


STATEMENTS: Final = (
    *_training_cost(),
    *_trained_accuracy(),
    *_sensitivity(),
    *_serving(),
    *_subscribing(),
)
"""In the paper's order."""
