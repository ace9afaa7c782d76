"""Where answers go. None of them stops the loop.

::

    jsonl.py              lines of JSON, or nowhere
    non_blocking.py       writing to a pipe, a file or a terminal whose reader may be slow
    mqtt.py               a broker
    box_status.py         how a box does, for those who look at all of them
    mqtt_broker.py        where it is, and how to speak to it
    mqtt_retained.py      messages that it is to keep, whatever becomes of the connection
    mqtt_states.py        states and events there
    mqtt_site.py          which cameras and questions there are, and commands to switches
    site.py               the same as plain values
    home_assistant.py     the same in the words of Home Assistant's discovery
    mqtt_topics.py        the topics
    webhook.py            events posted to an HTTP address
    webhook_target.py     where it is, and one attempt
    event_queue.py        events that wait on the disk
    recording.py          pictures and answers on the disk
    mjpeg_with_jsonl.py   the two files of a recording, growing together
    other_writers.py      who else has a file open
"""
