-- For how long what is about people is kept, and what of it was erased.
-- The same columns and types as in the other engine's; a test compares them.

-- Nothing read it, and it kept addresses.
DROP TABLE target;
ALTER TABLE referral DROP COLUMN target_key;

ALTER TABLE referral ADD COLUMN erasures BYTEA NOT NULL DEFAULT '';  -- as the contract writes them

CREATE TABLE retention_policy (
    agency      TEXT   NOT NULL PRIMARY KEY,
    updated_us  BIGINT NOT NULL,
    updated_seq BIGINT NOT NULL  -- the last event that changed it
);

CREATE TABLE retention_rule (
    agency          TEXT   NOT NULL,
    field_group     BIGINT NOT NULL,
    retention_class BIGINT NOT NULL,  -- 0: until it is erased by request
    swept_seq       BIGINT NOT NULL,  -- the last referral that was erased since its time was over
    PRIMARY KEY (agency, field_group)
);
