-- In which order cases are taken, and who holds them.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE cases ADD COLUMN urgency BIGINT NOT NULL DEFAULT 0;         -- 1000: a threat to life; 500 and more: an order; else the score
ALTER TABLE cases ADD COLUMN leased_until_us BIGINT NOT NULL DEFAULT 0; -- until when somebody holds it; 0: nobody does
CREATE INDEX cases_unacknowledged ON cases (platform, urgency DESC, seq) WHERE status = 1;
CREATE INDEX cases_queue ON cases (platform, urgency DESC, seq) WHERE status = 2 OR status = 5;
