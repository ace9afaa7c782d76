"""Bulk scoring: folders, tars and Parquet in, Parquet with answers out; resumed where it ended.

::

    options.py        what a job is asked for
    errors.py         what ends a job or a shard
    import_score.py   libraries that are needed for it
    locations.py      local disk and object stores behind one interface
    output_folder.py  files of an output that are whole or not there
    inputs.py         from what a user names to shards of pictures
    shard_list.py     the shards of a job, listed once, read one by one
    job.py            the record of a job: what goes on, and what is refused
    job_picture.py    a picture that is not decoded yet
    shard_pictures.py the pictures of a shard, one after another
    parquet_rows.py   those of a Parquet file
    scorer.py         a model's answers about pictures, a row each
    parts.py          rows as a Parquet file
    shard_worker.py   a shard from its pictures to its part
    events.py         what workers tell
    pool.py           plain processes that do it
    on_ray.py         a Ray Data pipeline that does it
    rate.py           pictures a second, and the time left
    run.py            a whole job
"""
