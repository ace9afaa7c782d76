"""What can go wrong with a scoring job as a whole; everything else is the runtime's own."""

from __future__ import annotations

from snow_runtime.errors import SnowError


class ScoreError(SnowError):
    """A job cannot be begun or go on: inputs, output or options that do not serve."""


class ShardError(ScoreError):
    """One shard cannot be read to its end; the others go on."""


class OutputError(ScoreError):
    """The output refuses what is written: nothing can go on."""
