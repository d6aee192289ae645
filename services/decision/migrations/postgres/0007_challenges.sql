-- Challenges of decisions: a ledger of their own.
-- The same columns and types as in the other engine's; a test compares them.

CREATE TABLE challenge (
    seq      BIGINT  NOT NULL PRIMARY KEY,  -- the event that filed it
    case_id  BYTEA   NOT NULL,
    agency   TEXT    NOT NULL,
    platform TEXT    NOT NULL,
    number   BIGINT  NOT NULL,              -- from 1, in the case
    filed_by TEXT    NOT NULL,              -- agencies/nca, oversightBodies/coordinator, platforms/harbourbook
    kind     BIGINT  NOT NULL,              -- enumerations have the contract's numbers
    stage    BIGINT  NOT NULL,
    open     BIGINT  NOT NULL,              -- 1: somebody still has to do something
    due_us   BIGINT,
    body     BYTEA   NOT NULL,              -- the challenge as the contract writes it
    UNIQUE (case_id, number)
);
CREATE INDEX challenge_open ON challenge (seq) WHERE open = 1;
CREATE INDEX challenge_agency ON challenge (agency, seq);
CREATE INDEX challenge_platform ON challenge (platform, seq);
CREATE INDEX challenge_filed_by ON challenge (filed_by, seq);

ALTER TABLE cases ADD COLUMN challenges BIGINT NOT NULL DEFAULT 0;  -- how many there are
