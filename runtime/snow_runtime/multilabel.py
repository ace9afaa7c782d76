"""How many of a task's labels are right about one picture."""

from __future__ import annotations

from typing import Literal

Labelling = Literal["one", "several"]
"""Exactly one, so that probabilities are a softmax; or any number, none too, and a sigmoid each."""
