-- Agreements, and how referrals are to be handled.
-- The same columns and types as in the other engine's; a test compares them.

CREATE TABLE agreement (
    agreement_id BLOB NOT NULL PRIMARY KEY,  -- 16 bytes
    created_seq  BIGINT NOT NULL UNIQUE,       -- the event that proposed it
    updated_seq  BIGINT NOT NULL,              -- the last event that changed it
    body         BLOB NOT NULL               -- the agreement as the contract writes it
);

CREATE TABLE agreement_party (
    agency       TEXT NOT NULL,
    agreement_id BLOB NOT NULL,
    PRIMARY KEY (agency, agreement_id)
) WITHOUT ROWID;
CREATE INDEX agreement_party_agreement ON agreement_party (agreement_id, agency);

ALTER TABLE referral ADD COLUMN tlp BIGINT NOT NULL DEFAULT 4;  -- 4: AMBER_STRICT
ALTER TABLE referral ADD COLUMN classification BIGINT NOT NULL DEFAULT 1;  -- 1: OFFICIAL
ALTER TABLE referral ADD COLUMN source_grade BIGINT NOT NULL DEFAULT 0;  -- 0: not graded
ALTER TABLE referral ADD COLUMN assessment BIGINT NOT NULL DEFAULT 0;  -- 0: not assessed
ALTER TABLE referral ADD COLUMN conditions TEXT;  -- of sharing; set for the handling code C alone
