-- Research grants, each as the contract writes it, with what has been spent of it.
-- The same columns and types as in migrations/sqlite; a test compares them.
CREATE TABLE research_grant (
    grant_id   BYTEA  NOT NULL PRIMARY KEY,  -- the UUID
    issued_seq BIGINT NOT NULL,              -- the event that issued it
    grantee    TEXT COLLATE "C"  NOT NULL,   -- the researchers' identifier
    body       BYTEA  NOT NULL               -- portreeve.reporting.v1.Grant
);
CREATE UNIQUE INDEX research_grant_issued ON research_grant (issued_seq);
CREATE INDEX research_grant_grantee ON research_grant (grantee, issued_seq);
