"""Fitting the readouts of a collection anew on the box, and judging them before they answer."""
