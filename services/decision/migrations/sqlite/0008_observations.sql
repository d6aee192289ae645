-- What was seen of the target last, and where that does not agree with the decision.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE cases ADD COLUMN observation BLOB NOT NULL DEFAULT x'';     -- as the contract writes it; empty: none
ALTER TABLE cases ADD COLUMN sighting BLOB NOT NULL DEFAULT x'';  -- the last that tells whether the target itself is there
ALTER TABLE cases ADD COLUMN discrepancy BIGINT NOT NULL DEFAULT 0;  -- 0: none
CREATE INDEX cases_discrepancy ON cases (seq) WHERE discrepancy > 0;
