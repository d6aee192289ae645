-- To which operation a case's referral belongs, and which referral of it was the first with the same target.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE cases ADD COLUMN operation TEXT NOT NULL DEFAULT '';    -- empty for none
ALTER TABLE cases ADD COLUMN same_target TEXT NOT NULL DEFAULT '';  -- empty where it is the first
CREATE INDEX cases_operation ON cases (platform, seq) WHERE operation <> '';
