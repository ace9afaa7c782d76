"""From a picture of any kind to the batch that a network reads.

::

    picture_files.py    which files of a folder are pictures
    rgb.py              any picture as upright RGB of eight bits
    remarks.py          what is odd about a picture that can be used all the same
    arrays.py           pictures of other libraries as NumPy arrays
    preprocessing.py    resize, crop, normalise: the one implementation
    tars.py             pictures in tars, as WebDataset has them
    prepared.py         several pictures made ready, and a graph run on them
"""
