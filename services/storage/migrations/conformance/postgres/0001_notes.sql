-- The sample ledger of the conformance suite.
CREATE TABLE note (
    note_key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    content  TEXT COLLATE "C" NOT NULL CHECK (content <> 'poison'),
    payload  BYTEA   NOT NULL,
    flagged  BOOLEAN NOT NULL,
    counted  BIGINT,
    seq      BIGINT NOT NULL
);
