-- The state of an access log: a view of the log, by which entries are found. What an entry says is in the log alone.
-- The same columns and types as in migrations/postgres; a test compares them.

-- A row for each organisation that an entry is about: the reader, and the owner if that is another.
CREATE TABLE consultation (
    party       TEXT   NOT NULL,
    seq         BIGINT NOT NULL,  -- the entry's number in the log
    recorded_us BIGINT NOT NULL,
    kind        BIGINT NOT NULL,
    reader      TEXT   NOT NULL,
    member      TEXT   NOT NULL,
    method      TEXT   NOT NULL,
    PRIMARY KEY (party, seq)
) WITHOUT ROWID;
CREATE INDEX consultation_seq ON consultation (seq);

-- The rows that an entry names.
CREATE TABLE consultation_row (
    row_id BLOB  NOT NULL,  -- 16 bytes
    seq    BIGINT NOT NULL,
    PRIMARY KEY (row_id, seq)
) WITHOUT ROWID;
