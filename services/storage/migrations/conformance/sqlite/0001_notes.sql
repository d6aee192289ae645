-- The sample ledger of the conformance suite.
CREATE TABLE note (
    note_key TEXT   NOT NULL PRIMARY KEY,
    content  TEXT   NOT NULL CHECK (content <> 'poison'),
    payload  BLOB   NOT NULL,
    flagged  BOOLEAN NOT NULL,
    counted  BIGINT,
    seq      BIGINT NOT NULL
);
