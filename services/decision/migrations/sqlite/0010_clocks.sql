-- Stays and clocks of cases, and what platforms say of how long they take.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE cases ADD COLUMN course BLOB NOT NULL DEFAULT x'';  -- stays, marks of clocks and what they rest on, as the contract writes it
ALTER TABLE cases ADD COLUMN next_mark_us BIGINT;                   -- when the time alone next changes something
ALTER TABLE cases ADD COLUMN clocks_open BIGINT NOT NULL DEFAULT 0; -- how many clocks have not ended
ALTER TABLE cases ADD COLUMN clocks_due_us BIGINT;                  -- when the first of them is or was due
CREATE INDEX cases_next_mark ON cases (next_mark_us) WHERE next_mark_us IS NOT NULL;
CREATE INDEX cases_clocks_agency ON cases (agency, seq) WHERE clocks_open > 0;
CREATE INDEX cases_clocks_platform ON cases (platform, seq) WHERE clocks_open > 0;
-- What there was before may have open clocks; which, a rebuild tells, and begins their marks.
UPDATE cases SET clocks_open = 1, clocks_due_us = 0 WHERE status = 3 OR challenges > 0;

-- The inbox: what still waits for the platform has states beyond the third now.
DROP INDEX cases_waiting;
CREATE INDEX cases_waiting ON cases (platform, seq) WHERE status <> 3 AND status <> 4;

CREATE TABLE response_times (
    platform    TEXT   NOT NULL PRIMARY KEY,
    updated_seq BIGINT NOT NULL,
    body        BLOB   NOT NULL  -- as the contract writes it
);
