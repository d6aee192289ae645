-- What is known of the evidence that the agency serves to the platform.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE cases ADD COLUMN exhibits BLOB NOT NULL DEFAULT x'';  -- as the contract writes it; empty for none
