-- The metrics that a campaign's profile was asked for, newest last, so that its report is made again with the same.
CREATE TABLE IF NOT EXISTS metrics_asked_for (
    id          INTEGER PRIMARY KEY,
    campaign_id INTEGER NOT NULL REFERENCES campaign (id),
    names       TEXT NOT NULL,                   -- JSON: as written on the command line; none for the default ones
    checksum    TEXT
) STRICT;
