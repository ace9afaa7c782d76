"""The tables of a collection's SQLite file.

A label is never changed: each act of labelling is an entry of the journal with one mark a picture,
and an entry can be undone. `current` repeats the newest mark that is not undone, for quick reading.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
APPLICATION_ID: Final = 0x534E4F57  # "SNOW"

TABLES: Final = (
    # `stored_bytes` is what counts against the budget; a trigger adds it up.
    """CREATE TABLE pictures (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sha256 TEXT NOT NULL,
        camera TEXT NOT NULL,
        view TEXT NOT NULL,
        taken_at REAL NOT NULL,
        reason TEXT NOT NULL,
        source_sha256 TEXT NOT NULL,
        model_sha256 TEXT NOT NULL,
        answers TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        features_width INTEGER,
        novelty REAL NOT NULL,
        stored_bytes INTEGER NOT NULL,
        UNIQUE (sha256, camera, view)
    )""",
    "CREATE INDEX pictures_of_views ON pictures (camera, view, id)",
    "CREATE INDEX pictures_by_time ON pictures (taken_at)",
    # Beside the pictures, so that a list of pictures does not read them.
    """CREATE TABLE features (
        picture INTEGER PRIMARY KEY REFERENCES pictures (id) ON DELETE CASCADE,
        float16 BLOB NOT NULL
    )""",
    """CREATE TABLE questions (
        name TEXT PRIMARY KEY,
        labels TEXT NOT NULL,
        camera TEXT,
        view TEXT NOT NULL,
        several INTEGER NOT NULL,
        revision INTEGER NOT NULL
    )""",
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        question TEXT NOT NULL REFERENCES questions (name) ON DELETE CASCADE,
        person TEXT NOT NULL,
        at REAL NOT NULL,
        label TEXT NOT NULL,
        undone INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX entries_of_people ON entries (question, person, undone, id)",
    """CREATE TABLE marks (
        entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
        picture INTEGER NOT NULL REFERENCES pictures (id) ON DELETE CASCADE,
        PRIMARY KEY (entry, picture)
    ) WITHOUT ROWID""",
    "CREATE INDEX marks_of_pictures ON marks (picture, entry)",
    """CREATE TABLE current (
        question TEXT NOT NULL REFERENCES questions (name) ON DELETE CASCADE,
        picture INTEGER NOT NULL REFERENCES pictures (id) ON DELETE CASCADE,
        label TEXT NOT NULL,
        PRIMARY KEY (question, picture)
    ) WITHOUT ROWID""",
    "CREATE INDEX current_of_pictures ON current (picture)",
    "CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    "INSERT INTO numbers VALUES ('stored_bytes', 0), ('revision', 0)",
    """CREATE TRIGGER picture_added AFTER INSERT ON pictures BEGIN
        UPDATE numbers SET value = value + NEW.stored_bytes WHERE name = 'stored_bytes';
    END""",
    """CREATE TRIGGER picture_deleted AFTER DELETE ON pictures BEGIN
        UPDATE numbers SET value = value - OLD.stored_bytes WHERE name = 'stored_bytes';
    END""",
)
