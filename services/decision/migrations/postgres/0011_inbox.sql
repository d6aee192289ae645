-- In which order cases are taken, and who holds them.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE cases ADD COLUMN urgency BIGINT NOT NULL DEFAULT 0;         -- the score, and 1000 for a threat to life, and 500 for an order
ALTER TABLE cases ADD COLUMN leased_until_us BIGINT NOT NULL DEFAULT 0; -- until when somebody holds it; 0: nobody does
UPDATE cases SET urgency = 500 WHERE nature = 3;
CREATE INDEX cases_unacknowledged ON cases (platform, urgency DESC, seq) WHERE status = 1;
CREATE INDEX cases_queue ON cases (platform, urgency DESC, seq) WHERE status = 2 OR status = 5;
