-- What a referral says as an order.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE referral ADD COLUMN order_terms BLOB NOT NULL DEFAULT x'';  -- as the contract writes it; empty for none
