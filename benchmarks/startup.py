"""How long the light parts take to start, in fresh interpreters.

A device loads the runtime, and a person types `snow-deploy --help`: neither may wait for torch.
Prints the median and the best of several runs beside the budget; exits 1 if one is over it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15
BUDGETS_MS = {
    "import snow_runtime": ([sys.executable, "-c", "import snow_runtime"], 300),
    "snow-deploy --help": ([sys.executable, "-m", "snow_deploy", "--help"], 250),
}


def elapsed_ms(command: list[str]) -> float:
    """Run a command and return its wall time in milliseconds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own commands
    return (time.perf_counter() - start) * 1000


def main() -> int:
    """Print one line per command; return the exit code."""
    over = False
    print(f"{'command':<22} {'median ms':>9} {'best ms':>9} {'budget ms':>9}")
    for name, (command, budget_ms) in BUDGETS_MS.items():
        times = sorted(elapsed_ms(command) for _ in range(RUNS))
        median_ms = statistics.median(times)
        over = over or median_ms > budget_ms
        print(f"{name:<22} {median_ms:>9.0f} {times[0]:>9.0f} {budget_ms:>9}")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
