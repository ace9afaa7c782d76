"""What runs a graph: the protocol of every session, and ONNX Runtime.

::

    session.py               what a model needs of a backend
    batch.py                 a batch of pictures, as every backend takes it
    onnxruntime_session.py   running a graph in ONNX Runtime
    providers.py             opening it with CUDA, or else on the CPU
    io_binding.py            the same on a device, inputs and outputs bound
    import_onnxruntime.py    its import, set to send nothing

TensorRT's backend is :mod:`snow_runtime.engine`.
"""
