-- Which place a target is: the canonical form of its address, and the rules that make it.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE referral ADD COLUMN canonical_url TEXT COLLATE "C" NOT NULL DEFAULT '';  -- empty: as no rules make it
ALTER TABLE referral ADD COLUMN base_rules BIGINT NOT NULL DEFAULT 0;    -- by which rules for every platform it was made
ALTER TABLE referral ADD COLUMN rules BIGINT NOT NULL DEFAULT 0;         -- by which of the platform's own
ALTER TABLE referral ADD COLUMN handles BYTEA NOT NULL DEFAULT '';         -- as the contract writes them
ALTER TABLE referral ADD COLUMN target_key BYTEA;                          -- 16 bytes of SHA-256 over the canonical form; none, or erased
CREATE INDEX referral_target ON referral (target_key, agency);

CREATE TABLE address_rules (
    platform    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    updated_us  BIGINT NOT NULL,
    updated_seq BIGINT NOT NULL,  -- the event that set them
    swept_seq   BIGINT NOT NULL,  -- up to where referrals were put in their form
    body        BYTEA NOT NULL    -- the newest rules as the contract writes them
);

CREATE TABLE address_rules_version (
    platform    TEXT COLLATE "C" NOT NULL,
    version     BIGINT NOT NULL,
    updated_us  BIGINT NOT NULL,
    updated_seq BIGINT NOT NULL,  -- the event that set it
    body        BYTEA NOT NULL,   -- the rules as the contract writes them
    PRIMARY KEY (platform, version)
);

ALTER TABLE referral ADD COLUMN links BYTEA NOT NULL DEFAULT '';  -- as the contract writes them; empty for none

CREATE TABLE referral_link (
    to_id   BYTEA NOT NULL,  -- 16 bytes
    from_id BYTEA NOT NULL,  -- 16 bytes: the referral that has the link
    kind    BIGINT NOT NULL,
    PRIMARY KEY (to_id, from_id, kind)
);
