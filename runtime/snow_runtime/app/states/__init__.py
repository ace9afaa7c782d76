"""What a question's answer is by now: a state that does not flap, and events where it changes.

Answers are votes: N of the last M make a state. Nothing here reads a clock; the caller gives the
time.
"""
