"""Options of `snow-deploy run` for the states that it keeps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import FiniteRange, all_of, is_typed, refuse_without

if TYPE_CHECKING:
    from snow_deploy.cli.run_options import RunOptions
    from snow_runtime.app.states.rules import StateRules

_RULES = ("state_agree", "state_dwell", "state_upper", "state_lower", "state_stale")


class VoteShare(click.ParamType[tuple[int, int]]):
    """N/M, as in 4/5: two whole numbers."""

    name = "N/M"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read it; an error of usage says what is wrong."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", str(value))
        if found is None:
            self.fail(f"{value!r} is not N/M, as in 4/5.", param, ctx)
        return int(found[1]), int(found[2])


state_options = all_of(
    click.option(
        "--states",
        is_flag=True,
        help="Keep a state of each task and camera that does not flap, and tell when one changes.",
    ),
    click.option(
        "--state-agree",
        type=VoteShare(),
        default="4/5",
        help="N of the last M answers make a state.",
    ),
    click.option(
        "--state-dwell",
        metavar="S",
        type=FiniteRange(0),
        default=1.0,
        help="Least seconds that a state lasts.",
    ),
    click.option(
        "--state-upper",
        metavar="P",
        type=FiniteRange(0, 1),
        help="Probability that a label has to reach to become the state.  [default: 0; of several "
        "labels 0.5]",
    ),
    click.option(
        "--state-lower",
        metavar="P",
        type=FiniteRange(0, 1),
        help="Probability below which it is the state no longer.  [default: --state-upper]",
    ),
    click.option(
        "--state-stale",
        metavar="S",
        type=FiniteRange(0, min_open=True),
        default=10.0,
        help="Seconds without an answer after which a state is stale.",
    ),
)


def state_rules(options: RunOptions) -> StateRules | None:
    """Return when states change; None where none are kept.

    Raises:
        click.UsageError: An option of states is given, and no states are asked for.
        InputError: The numbers contradict each other.
    """
    from snow_runtime.app.states.rules import StateRules

    if not options.states and options.output != "events" and options.webhook is None:
        refuse_without("--states", _RULES, is_typed)  # a file's may wait for `enabled = true`
        return None
    return StateRules(
        *options.state_agree,
        dwell_s=options.state_dwell,
        upper=options.state_upper,
        lower=options.state_lower,
        stale_s=options.state_stale,
    )
