-- What the reply to a request is made of besides the events that it caused.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE request_log ADD COLUMN cited BLOB NOT NULL DEFAULT x'';  -- 12 bytes each: a place in the reply, and an event
