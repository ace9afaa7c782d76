"""The statements of sections 3.1 and 3.2: on training, and on hyper-parameters."""

from __future__ import annotations

from snow_deploy.paper import printed
from snow_deploy.paper import statement_values as values
from snow_deploy.paper.statement import Statement


def cost_statements() -> list[Statement]:
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
            "FO and FE show higher throughput: the slower one's over SNOW-256's, above",
            1.0,
            "more",
            min(printed.TRAINING[name]["car"][0] for name in ("fo", "fe")) / snow[0],
            values.training_lead(("fo", "fe"), "snow", min),
            "table8",
        ),
        Statement(
            "3.1",
            "only marginally: the faster one's throughput over SNOW-256's",
            printed.TRAINING["fe"]["car"][0] / snow[0],
            "most",
            printed.TRAINING["fe"]["car"][0] / snow[0],
            values.training_lead(("fo", "fe"), "snow", max),
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
            batches="equal",
        ),
    ]


def accuracy_statements() -> list[Statement]:
    """Return the statements of section 3.1 on the accuracy that is reached, and when."""
    others = ("ft", "mp", "pn")
    return [
        Statement(
            "3.1",
            "SNOW-256 is comparable: mean top-1 above the best of FT's, MP's and PN's, points",
            values.printed_mean_lead("snow-256", others),
            "least",
            values.printed_mean_lead("snow-256", others),
            values.snow_mean_lead(others),
            "table7",
            "stated without a figure; in Table 7 PN is ahead on all five, FT by 6.5 on Car",
        ),
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


def sensitivity_statements() -> list[Statement]:
    """Return the statements of section 3.2, on hyper-parameters."""
    return [
        Statement(
            "3.2",
            "K = N/8 is the best: its top-1 over the best other K's, points",
            0.0,
            "least",
            values.best_over(printed.SENSITIVITY["k"], 8),
            values.sensitivity("k", "N/8", [f"N/{k}" for k in printed.SENSITIVITY["k"]]),
            "table4",
        ),
        Statement(
            "3.2",
            "a delta of M/8 is the best: its top-1 over the best other size's, points",
            0.0,
            "least",
            values.best_over(printed.SENSITIVITY["width"], 8),
            values.sensitivity("width", "M/8", [f"M/{w}" for w in printed.SENSITIVITY["width"]]),
            "table4",
        ),
        Statement(
            "3.2",
            "σ² = 0.001 is the best: its top-1 over the best other σ²'s, points",
            0.0,
            "least",
            values.best_over(printed.SENSITIVITY["sigma"], 1e-3),
            values.sensitivity("sigma2", "0.001", [f"{s:g}" for s in printed.SENSITIVITY["sigma"]]),
            "table4",
        ),
    ]
