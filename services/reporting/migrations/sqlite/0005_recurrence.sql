-- Recurrence: what is taken of each referral, for the networks of its agency. And what is to be read from the logs again.
-- The same columns and types as in migrations/postgres; a test compares them.
CREATE TABLE trail (
    referral_id BLOB   NOT NULL PRIMARY KEY,  -- the UUID
    agency      TEXT   NOT NULL,
    linked      BIGINT NOT NULL,              -- 1 if it is linked to another, or another to it; else 0
    body        BLOB   NOT NULL               -- where it was sent and what happened to it
) WITHOUT ROWID;
CREATE INDEX trail_linked ON trail (agency, referral_id) WHERE linked = 1;

-- How far the logs had been followed when a release came that takes more from them than the one before it. They are followed
-- from their beginning then, and what had been taken counts no more (the event BegunAnew). No figures are given until that
-- place is reached again. Empty where nothing had been followed. No view of the log: rebuilding leaves it.
CREATE TABLE refill (
    source   TEXT   NOT NULL PRIMARY KEY,  -- the log that is followed
    position BIGINT NOT NULL,
    begun    BIGINT NOT NULL               -- 1 once what had been taken was emptied; else 0
) WITHOUT ROWID;
INSERT INTO refill (source, position, begun)
    SELECT source, seq, 0 FROM followed WHERE source IN ('referral', 'decision');
DELETE FROM followed;
