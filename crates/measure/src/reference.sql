-- The inferences of the reference network that took turns with a measurement's samples: one before each and one after the last.
CREATE TABLE IF NOT EXISTS measurement_reference (
    measurement_id INTEGER PRIMARY KEY REFERENCES measurement (id),
    wall_ms        BLOB NOT NULL,                -- little-endian f64, as in `measurement`
    cpu_ms         BLOB,
    preemptions    BLOB,
    checksum       TEXT
) STRICT;

CREATE TRIGGER IF NOT EXISTS measurement_reference_is_append_only_update BEFORE UPDATE ON measurement_reference
BEGIN SELECT raise(ABORT, 'measurements are never changed'); END;

CREATE TRIGGER IF NOT EXISTS measurement_reference_is_append_only_delete BEFORE DELETE ON measurement_reference
BEGIN SELECT raise(ABORT, 'measurements are never deleted'); END;
