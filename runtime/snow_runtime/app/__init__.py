"""Cameras, a model and what its answers are for, put together: `snow-deploy run`.

Frames flow one way: cameras -> loop -> answers -> outputs. The page and the metrics look at the
same state and never hold up the loop.
"""
