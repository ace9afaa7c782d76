"""Serving by NVIDIA's Triton Inference Server: model repositories, and the model of one.

::

    options.py        what a repository's model is to be
    served.py         a graph or an engine as Triton can serve it
    config.py         its config.pbtxt, as the protocol's own message
    fits.py           whether a version more fits a config that is there
    repository.py     versions side by side in a folder, each written whole or not at all
    python_model.py   the model of the Python backend: pictures in, labels out

What asks a server is :mod:`snow_runtime.backends.remote`.
"""
