-- What is known of evidence, and which referrals carry it. Its bytes are in a store of their own.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE referral ADD COLUMN exhibits BYTEA NOT NULL DEFAULT '';  -- what is known of its evidence, as the contract writes it; empty for none

CREATE TABLE evidence (
    evidence_id BYTEA NOT NULL PRIMARY KEY,  -- 16 bytes
    agency      TEXT   NOT NULL,
    object      TEXT   NOT NULL,              -- the key of its bytes in the store; empty once it was erased
    created_seq BIGINT NOT NULL UNIQUE,       -- the event that recorded it
    updated_seq BIGINT NOT NULL,              -- the last event that changed it
    body        BYTEA NOT NULL               -- the evidence as the contract writes it
);
CREATE INDEX evidence_agency ON evidence (agency, created_seq);
CREATE INDEX evidence_object ON evidence (object);

CREATE TABLE evidence_carrier (
    evidence_id BYTEA NOT NULL,  -- 16 bytes
    referral_id BYTEA NOT NULL,  -- 16 bytes
    PRIMARY KEY (evidence_id, referral_id)
);
CREATE INDEX evidence_carrier_referral ON evidence_carrier (referral_id);
