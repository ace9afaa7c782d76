"""The statements of sections 3.1 to 3.4 that can be checked."""

from __future__ import annotations

from typing import Final

from snow_deploy.paper import statements_on_serving as serving
from snow_deploy.paper import statements_on_training as training

STATEMENTS: Final = (
    *training.cost_statements(),
    *training.accuracy_statements(),
    *training.sensitivity_statements(),
    *serving.serving_statements(),
    *serving.subscription_statements(),
)
"""In the paper's order."""
