-- Values of metrics that take long to evaluate; part of the measurement log. Described in docs/store.md.
BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS evaluator (
    id                INTEGER PRIMARY KEY,
    info              TEXT NOT NULL,              -- JSON: name, unit, direction, origin of the metric
    identity          TEXT NOT NULL,              -- what decides its values: a command, hashes of files
    space_digest      TEXT NOT NULL,
    blocklens_version TEXT NOT NULL,
    created_at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    checksum          TEXT                        -- SHA-256 over the row; NULL where an earlier version wrote it
) STRICT;

CREATE TABLE IF NOT EXISTS evaluation_run (
    id           INTEGER PRIMARY KEY,
    evaluator_id INTEGER NOT NULL REFERENCES evaluator (id),
    campaign_id  INTEGER REFERENCES campaign (id),    -- whose plan it follows; NULL where nothing is timed
    planned      INTEGER NOT NULL CHECK (planned >= 0), -- architectures of the plan that are to have a value
    started_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    checksum     TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS evaluation (
    id           INTEGER PRIMARY KEY,
    evaluator_id INTEGER NOT NULL REFERENCES evaluator (id),
    arch         TEXT NOT NULL,
    attempt      INTEGER NOT NULL CHECK (attempt >= 0), -- 0, or more for a retried failure
    value        REAL CHECK (abs(value) <= 1.7976931348623157e308),
    failure_kind TEXT,
    failure      TEXT,                                -- JSON
    recorded_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum     TEXT,
    UNIQUE (evaluator_id, arch, attempt),
    -- An evaluation has a number or a failure, never both and never neither.
    CHECK ((value IS NULL) = (failure_kind IS NOT NULL)),
    CHECK ((failure IS NULL) = (failure_kind IS NULL))
) STRICT;

CREATE TRIGGER IF NOT EXISTS evaluation_is_append_only_update BEFORE UPDATE ON evaluation
BEGIN SELECT raise(ABORT, 'evaluations are never changed'); END;

CREATE TRIGGER IF NOT EXISTS evaluation_is_append_only_delete BEFORE DELETE ON evaluation
BEGIN SELECT raise(ABORT, 'evaluations are never deleted'); END;

COMMIT;
