-- What a referral says as an order, and how urgent it is.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE referral ADD COLUMN order_terms BYTEA NOT NULL DEFAULT '';  -- as the contract writes it; empty for none
ALTER TABLE referral ADD COLUMN priority BYTEA NOT NULL DEFAULT '';     -- likewise
