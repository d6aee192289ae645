-- The agency's signature travels with the case.
-- The same columns and types as in migrations/postgres; a test compares them.

ALTER TABLE cases ADD COLUMN signature TEXT NOT NULL DEFAULT '';  -- a JWS with detached payload; empty if not signed
ALTER TABLE cases ADD COLUMN signed_occurred_us BIGINT;           -- when the referral occurred, as it was signed
