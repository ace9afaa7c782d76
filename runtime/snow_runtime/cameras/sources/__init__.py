"""Where pictures come from: one connection, read until it ends.

::

    source.py            what every source gives, and how it fails
    video.py             files and RTSP, through PyAV (import_pyav, video_damage, upright)
    mjpeg.py             MJPEG over HTTP (http/, jpeg_cutter, jpeg_decoder)
    opencv_capture.py    V4L2 devices and GStreamer pipelines (import_opencv, csi_pipeline)
    folder.py            a folder of pictures
    synthetic.py         pictures drawn here

What keeps them connected stands one folder up.
"""
