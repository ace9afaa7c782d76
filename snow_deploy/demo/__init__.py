"""The demo: SNOW end to end on rendered pictures, in under five minutes on two CPU cores.

pretrain   a small source, trained here and now
latency    the shared graph beside separate whole models
walk       every step in order, through the same code as the commands
figures    curves and selections as pictures
report     the one-page HTML report
"""
