"""HTTP and HTTPS as cameras speak them.

::

    address.py    where a request goes, and for whom
    client.py     `requests` set up for one camera: a connection of its own, Basic and Digest
    stream.py     one answer, byte by byte
    messages.py   what to tell the user of what went wrong
"""
