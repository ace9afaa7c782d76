"""Readouts: linear classifiers on the pooled features of a graph, fitted in seconds."""
