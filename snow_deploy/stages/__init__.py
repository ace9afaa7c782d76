"""From a store to a file: what export, calibrate, verify and inspect put together.

::

    export.py                  a store's tasks or its source alone, for the exporter
    calibration_pictures.py    data sets, for calibration and its gate
    task_data.py               which data is for which task of a graph
    provenance.py              whether they are split as in training
    unlabelled.py              pictures without labels
    store_readout.py           a readout of a store, as a file
    inspect_path.py            what a path holds (inspect_store.py, count_store.py)
"""
