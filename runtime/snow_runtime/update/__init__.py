"""Signed updates of a box: checked before anything is opened, tried aside, and taken back.

::

    errors.py        what can go wrong, by what helps
    compression.py   Zstandard, against an older piece where there is one
    release.py       what a release consists of: files as pieces, and where the pieces lie
    rollout.py       which release a box is to have
    transport.py     a web server, or a folder such as a USB stick
    limits.py        bandwidth and hours
    floor.py         the newest that was seen
    signed.py        documents by The Update Framework
    box.py           the box's folder: generations, the pointer to one, what is known
    pieces.py        pieces that lie here already, and downloads of others
    assemble.py      a release's files out of pieces
    trial.py         a release tried in a process of its own: self-check and time
    health.py        whether a program does its work, by what it counts
    program.py       the program that answers, as the agent sees it
    child_program.py one that the agent begins itself
    status.py        what a box tells of itself
    wanted.py        what a box is to run
    processes.py     processes that end with the one that began them
    agent_options.py how an agent looks after its box
    reports.py       what it tells, to whom, and how often
    patience.py      when it downloads again what came to nothing
    succession.py    which release the program works by, and the way back
    agent.py         all of it, in the order that a power cut does not break
"""
