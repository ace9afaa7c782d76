"""Readouts: tasks that are a linear classifier on pooled features, in files of their own."""
