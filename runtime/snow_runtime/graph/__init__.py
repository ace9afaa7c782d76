"""What an exported file holds: an ONNX graph, and the manifest inside it.

::

    manifest.py         what the graph answers and how to feed it
    task_name.py        what a task may be called
    data_entry.py       which pictures a task was trained and measured on, as hashes
    document.py         JSON documents whose fields are checked by their types
    field_checks.py     checks of single values
    onnx_file.py        a graph file, read with suspicion
    external_data.py    weights that lie in files beside it
    weights_beside.py   a graph and those weights as one, also where there is no onnx
    agreement.py        whether its inputs and outputs are those of its manifest
    half_precision.py   the same graph in half precision
    quantised.py        explicit quantisation, as it stands in a graph
"""
