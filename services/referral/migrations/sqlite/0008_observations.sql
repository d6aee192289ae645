-- Whether the targets of referrals are still there.
-- The same columns and types as in migrations/postgres; a test compares them.

CREATE TABLE observation (
    created_seq    INTEGER NOT NULL PRIMARY KEY,  -- the event that recorded it
    observation_id BLOB    NOT NULL UNIQUE,       -- 16 bytes
    agency         TEXT    NOT NULL,
    referral_id    BLOB    NOT NULL,              -- 16 bytes
    body           BLOB    NOT NULL,              -- the observation as the contract writes it, without the place
    place          BLOB                           -- where the content is again, likewise; none, or erased
);
CREATE INDEX observation_referral ON observation (referral_id, created_seq);
CREATE INDEX observation_agency ON observation (agency, created_seq);
