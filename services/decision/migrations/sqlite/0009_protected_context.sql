-- What the agency found when it looked whether the law protects the content.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE cases ADD COLUMN context_check BLOB NOT NULL DEFAULT x'';  -- as the contract writes it; empty for none
