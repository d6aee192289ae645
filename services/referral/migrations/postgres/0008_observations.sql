-- Whether the targets of referrals are still there.
-- The same columns and types as in migrations/postgres; a test compares them.

CREATE TABLE observation (
    created_seq    BIGINT  NOT NULL PRIMARY KEY,  -- the event that recorded it
    observation_id BYTEA   NOT NULL UNIQUE,       -- 16 bytes
    agency         TEXT    NOT NULL,
    referral_id    BYTEA   NOT NULL,              -- 16 bytes
    body           BYTEA   NOT NULL,              -- the observation as the contract writes it, without the place
    place          BYTEA                          -- where the content is again, likewise; none, or erased
);
CREATE INDEX observation_referral ON observation (referral_id, created_seq);
CREATE INDEX observation_agency ON observation (agency, created_seq);
