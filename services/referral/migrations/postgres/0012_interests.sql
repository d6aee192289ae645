-- What agencies have an interest in, and the referrals that wait for it.
-- The same columns and types as in the other engine's; a test compares them.

CREATE TABLE interest (
    interest_id BYTEA NOT NULL PRIMARY KEY,  -- 16 bytes
    agency      TEXT COLLATE "C" NOT NULL,
    platform    TEXT COLLATE "C" NOT NULL,
    tag         BYTEA NOT NULL,              -- 16 bytes of a keyed hash: what finds the target, which is not kept
    rules       BIGINT NOT NULL,              -- the version of the platform's rules under which it was made
    expires_us  BIGINT NOT NULL,
    ended       BIGINT NOT NULL,              -- 1: ended
    created_seq BIGINT NOT NULL,              -- the event that recorded it
    updated_seq BIGINT NOT NULL,              -- the last event that changed it
    body        BYTEA NOT NULL               -- the interest as the log writes it
);
CREATE INDEX interest_tag ON interest (tag, ended);
CREATE INDEX interest_agency ON interest (agency, created_seq);
CREATE INDEX interest_rules ON interest (platform, rules, ended);
CREATE INDEX interest_expires ON interest (ended, expires_us);

CREATE TABLE interest_count (
    agency TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    live   BIGINT NOT NULL                    -- of its interests, those that have not ended
);

CREATE TABLE hold (
    hold_id     BYTEA NOT NULL PRIMARY KEY,  -- 16 bytes
    draft_id    BYTEA NOT NULL,              -- the draft that waits
    agency      TEXT COLLATE "C" NOT NULL,              -- whose that is
    holder      TEXT COLLATE "C" NOT NULL,              -- whose the interest is
    interest_id BYTEA NOT NULL,
    state       BIGINT NOT NULL,              -- 1 held; others are over
    ends_us     BIGINT NOT NULL,
    created_seq BIGINT NOT NULL,              -- the event that recorded it
    updated_seq BIGINT NOT NULL,              -- the last event that changed it
    body        BYTEA NOT NULL               -- the hold as the log writes it
);
CREATE INDEX hold_draft ON hold (draft_id);
CREATE INDEX hold_interest ON hold (interest_id);
CREATE INDEX hold_agency ON hold (agency, created_seq);
CREATE INDEX hold_holder ON hold (holder, created_seq);
