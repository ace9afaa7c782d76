"""Labelled pictures on their way into a collection and out of it, in others' formats."""
