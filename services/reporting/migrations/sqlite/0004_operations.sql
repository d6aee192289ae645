-- To which operation referrals belong, and which of them point at a target that was referred in it before.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE cell ADD COLUMN operation TEXT NOT NULL DEFAULT '';    -- empty for none
ALTER TABLE cell ADD COLUMN same_target BIGINT NOT NULL DEFAULT 0;  -- 1: its target was referred in the operation before
CREATE INDEX cell_operation ON cell (operation) WHERE operation <> '';

-- Who takes part in operations, learnt from the referral log: whose figures these agencies know.
CREATE TABLE operation (
    name TEXT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL
);
