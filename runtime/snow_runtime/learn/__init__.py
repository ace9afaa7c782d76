"""Fitting readouts on the device: from labelled pictures, through a model, to a file; no torch."""
