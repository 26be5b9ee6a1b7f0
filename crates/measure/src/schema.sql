-- The measurement log of blocklens, schema version 1. Described in docs/store.md.
BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS campaign (
    id                INTEGER PRIMARY KEY,
    spec              TEXT NOT NULL,              -- JSON: everything that decides what is measured, and how
    blocklens_version TEXT NOT NULL,
    created_at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    checksum          TEXT                        -- SHA-256 over the row; NULL where an earlier version wrote it
) STRICT;

CREATE TABLE IF NOT EXISTS run (
    id          INTEGER PRIMARY KEY,
    campaign_id INTEGER NOT NULL REFERENCES campaign (id),
    device      TEXT NOT NULL,                    -- JSON: engine, versions, threads, processor, system
    warnings    TEXT NOT NULL,                    -- JSON: doubts about the machine when the run began
    started_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    checksum    TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS measurement (
    id           INTEGER PRIMARY KEY,
    campaign_id  INTEGER NOT NULL REFERENCES campaign (id),
    run_id       INTEGER NOT NULL REFERENCES run (id),
    position     INTEGER NOT NULL CHECK (position >= 0),  -- in the campaign's schedule
    attempt      INTEGER NOT NULL CHECK (attempt >= 0),   -- 0, or more for a retried failure
    plan_index   INTEGER CHECK (plan_index >= 0),         -- in the estimator's plan; NULL for a sentinel
    arch         TEXT NOT NULL,
    latency_ms   REAL CHECK (latency_ms > 0),             -- the statistic that enters a profile
    summary      TEXT,                                    -- JSON
    phases       TEXT,                                    -- JSON
    warnings     TEXT,                                    -- JSON
    model_hash   TEXT,
    wall_ms      BLOB,                                    -- raw samples, little-endian f64
    cpu_ms       BLOB,                                    -- CPU time of each sample, little-endian f64
    preemptions  BLOB,                                    -- involuntary context switches, little-endian u32
    failure_kind TEXT,
    failure      TEXT,                                    -- JSON
    recorded_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    checksum     TEXT,
    UNIQUE (campaign_id, position, attempt),
    -- A measurement has numbers or a failure, never both and never neither.
    CHECK ((latency_ms IS NULL) = (failure_kind IS NOT NULL)),
    CHECK ((wall_ms IS NULL) = (failure IS NOT NULL))
) STRICT;

CREATE TRIGGER IF NOT EXISTS measurement_is_append_only_update BEFORE UPDATE ON measurement
BEGIN SELECT raise(ABORT, 'measurements are never changed'); END;

CREATE TRIGGER IF NOT EXISTS measurement_is_append_only_delete BEFORE DELETE ON measurement
BEGIN SELECT raise(ABORT, 'measurements are never deleted'); END;

PRAGMA user_version = 2;
COMMIT;
