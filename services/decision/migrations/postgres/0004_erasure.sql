-- What was erased of a case, as the referral log told it.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE cases ADD COLUMN erasures BYTEA NOT NULL DEFAULT '';  -- as the contract writes them
