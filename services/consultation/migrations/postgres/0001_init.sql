-- The state of an access log: a view of the log, by which entries are found. What an entry says is in the log alone.
-- The same columns and types as in migrations/sqlite; a test compares them. Text sorts by bytes, as SQLite sorts it.

-- A row for each organisation that an entry is about: the reader, and the owner if that is another.
CREATE TABLE consultation (
    party       TEXT COLLATE "C" NOT NULL,
    seq         BIGINT NOT NULL,  -- the entry's number in the log
    recorded_us BIGINT NOT NULL,
    kind        BIGINT NOT NULL,
    reader      TEXT COLLATE "C" NOT NULL,
    member      TEXT COLLATE "C" NOT NULL,
    method      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (party, seq)
);
CREATE INDEX consultation_seq ON consultation (seq);

-- The rows that an entry names.
CREATE TABLE consultation_row (
    row_id BYTEA  NOT NULL,  -- 16 bytes
    seq    BIGINT NOT NULL,
    PRIMARY KEY (row_id, seq)
);
