-- Research grants, each as the contract writes it, with what has been spent of it.
-- The same columns and types as in migrations/postgres; a test compares them.
CREATE TABLE research_grant (
    grant_id   BLOB   NOT NULL PRIMARY KEY,  -- the UUID
    issued_seq BIGINT NOT NULL,              -- the event that issued it
    grantee    TEXT   NOT NULL,              -- the researchers' identifier
    body       BLOB   NOT NULL               -- portreeve.reporting.v1.Grant
) WITHOUT ROWID;
CREATE UNIQUE INDEX research_grant_issued ON research_grant (issued_seq);
CREATE INDEX research_grant_grantee ON research_grant (grantee, issued_seq);
