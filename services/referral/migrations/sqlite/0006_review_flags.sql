-- Referrals that oversight flags for review.
-- The same columns and types as in migrations/postgres; a test compares them.

CREATE TABLE review_flag (
    flag_id     BLOB   NOT NULL PRIMARY KEY,  -- 16 bytes
    agency      TEXT   NOT NULL,
    referral_id BLOB   NOT NULL,              -- 16 bytes; there may be no such referral
    state       BIGINT NOT NULL,              -- 1 open, 2 answered
    created_seq BIGINT NOT NULL UNIQUE,       -- the event that recorded it
    updated_seq BIGINT NOT NULL,              -- the last event that changed it
    body        BLOB   NOT NULL               -- the flag as the contract writes it
);
CREATE INDEX review_flag_agency ON review_flag (agency, state, created_seq);
