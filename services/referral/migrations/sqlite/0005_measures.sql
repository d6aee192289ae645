-- Measures against misuse of the right to refer.
-- The same columns and types as in migrations/postgres; a test compares them.

CREATE TABLE measure (
    measure_id  BLOB   NOT NULL PRIMARY KEY,  -- 16 bytes
    agency      TEXT   NOT NULL,
    member      TEXT   NOT NULL,              -- empty: the agency as a whole
    kind        BIGINT NOT NULL,              -- 1 warning, 2 suspension
    start_us    BIGINT NOT NULL,
    ends_us     BIGINT NOT NULL,              -- as things stand
    imposer     TEXT   NOT NULL,              -- with the member, who decides on no appeal against it
    created_seq BIGINT NOT NULL UNIQUE,       -- the event that imposed it
    updated_seq BIGINT NOT NULL,              -- the last event that changed it
    body        BLOB   NOT NULL               -- the measure as the contract writes it
);
CREATE INDEX measure_agency ON measure (agency, created_seq);
