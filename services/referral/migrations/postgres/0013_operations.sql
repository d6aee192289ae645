-- Operations: agencies refer together.
-- The same columns and types as in the other engine's; a test compares them.

CREATE TABLE operation (
    operation_id BYTEA  NOT NULL PRIMARY KEY,  -- 16 bytes
    lead         TEXT COLLATE "C" NOT NULL,
    created_seq  BIGINT NOT NULL UNIQUE,       -- the event that planned it
    updated_seq  BIGINT NOT NULL,              -- the last event that changed it
    referrals    BIGINT NOT NULL,              -- how many belong to it
    targets      BIGINT NOT NULL,              -- how many of these were the first of their target in it
    body         BYTEA  NOT NULL               -- the operation as the contract writes it, without these counts
);
CREATE INDEX operation_lead ON operation (lead);

CREATE TABLE operation_agency (
    agency       TEXT COLLATE "C" NOT NULL,                -- its lead, or one that was invited
    operation_id BYTEA NOT NULL,
    PRIMARY KEY (agency, operation_id)
);

ALTER TABLE referral ADD COLUMN operation TEXT COLLATE "C" NOT NULL DEFAULT '';            -- to which it belongs; empty for none
ALTER TABLE referral ADD COLUMN first_of_target BIGINT NOT NULL DEFAULT 0;     -- 1: of its operation, the first with its target
CREATE INDEX referral_operation ON referral (operation, seq) WHERE operation <> '';
