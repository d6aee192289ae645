-- Agreements, learnt from the referral log: whether partners' figures are shared.
-- The same columns and types as in the other engine's; a test compares them.

CREATE TABLE agreement (
    agreement_id BYTEA NOT NULL PRIMARY KEY,  -- 16 bytes
    created_seq  BIGINT NOT NULL UNIQUE,       -- the event that first told of it
    updated_seq  BIGINT NOT NULL,              -- the last event that told of it
    body         BYTEA NOT NULL               -- the agreement as the contract writes it
);

CREATE TABLE agreement_party (
    agency       TEXT COLLATE "C" NOT NULL,
    agreement_id BYTEA NOT NULL,
    PRIMARY KEY (agency, agreement_id)
);
CREATE INDEX agreement_party_agreement ON agreement_party (agreement_id, agency);
