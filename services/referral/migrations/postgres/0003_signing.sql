-- Signed referrals, and the keys with which agencies sign.
-- The same columns and types as in migrations/sqlite; a test compares them.

ALTER TABLE referral ADD COLUMN signature TEXT COLLATE "C" NOT NULL DEFAULT '';  -- a JWS with detached payload; empty if not signed
ALTER TABLE referral ADD COLUMN signed_occurred_us BIGINT;           -- when it occurred, as it was signed

CREATE TABLE signing_profile (
    agency              TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    signatures_required BOOLEAN NOT NULL,
    updated_us          BIGINT  NOT NULL,
    updated_seq         BIGINT  NOT NULL  -- the last event that changed it or one of its keys
);

CREATE TABLE signing_key (
    agency            TEXT COLLATE "C"   NOT NULL,
    kid               TEXT COLLATE "C"   NOT NULL,
    public_key        BYTEA  NOT NULL,  -- 32 bytes
    valid_from_us     BIGINT NOT NULL,
    valid_until_us    BIGINT NOT NULL,
    revoked_us        BIGINT,
    revocation_reason TEXT COLLATE "C",
    PRIMARY KEY (agency, kid)
);
