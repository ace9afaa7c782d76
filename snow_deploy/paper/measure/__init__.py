"""What training steps and serving cost here, contenders taking turns.

::

    networks.py       untrained networks in a source's form
    step.py           one training step
    steps.py          speed and memory of several schemes' steps
    peak_memory.py    a step's memory, in a process of its own
    serving.py        pictures a second that get every task's answer
    turns.py          taking turns
"""
