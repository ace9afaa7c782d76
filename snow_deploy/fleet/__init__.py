"""Publishing releases for boxes: signed, in pieces, in waves.

::

    errors.py         what can go wrong
    keys.py           keys in files, which a passphrase opens
    signed_folder.py  metadata by The Update Framework, and those that wait for signatures
    publication.py    the folder that a web server serves: metadata, documents, blobs
    signatures.py     what waits for signatures, and signing it
    prune.py          older releases taken off
    graph_parts.py    a graph's file as its structure and its tensors
    packing.py        files as pieces, and pieces as blobs
    make_release.py   a release of graphs, readouts and a configuration
    config_secrets.py a configuration that must not be published as it is
    bill.py           what a release consists of, as a CycloneDX document
    waves.py          a rollout that begins, goes on, pauses and is taken back
    wave_health.py    whether the boxes of the open waves do well
    statuses.py       what boxes tell, out of a folder or off a broker
    overview.py       all boxes at once
"""
