-- What is looked at before a referral is sent, and referrals that are not sent yet.
-- The same columns and types as in migrations/postgres; a test compares them.

ALTER TABLE referral ADD COLUMN protected_context BLOB NOT NULL DEFAULT x'';  -- as the contract writes it; empty for none

CREATE TABLE authorisation_policy (
    agency      TEXT   NOT NULL PRIMARY KEY,
    updated_us  BIGINT NOT NULL,
    updated_seq BIGINT NOT NULL,  -- the last event that changed it
    body        BLOB NOT NULL   -- the policy as the contract writes it
);

CREATE TABLE draft (
    draft_id    BLOB NOT NULL PRIMARY KEY,  -- 16 bytes, the same as the referral's that it becomes
    agency      TEXT   NOT NULL,
    state       BIGINT NOT NULL,              -- 1 draft, 2 authorised, 3 discarded
    created_seq BIGINT NOT NULL UNIQUE,       -- the event that recorded it
    updated_seq BIGINT NOT NULL,              -- the last event that changed it
    body        BLOB NOT NULL               -- the draft as the contract writes it
);
CREATE INDEX draft_agency ON draft (agency, state, created_seq);
