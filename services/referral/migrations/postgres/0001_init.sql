-- The referral service's state: a view of its log, which can be rebuilt from it.
-- The same columns and types as in migrations/sqlite; a test compares them. Text sorts by bytes, as SQLite sorts it.

CREATE TABLE organisation (
    name         TEXT COLLATE "C"   NOT NULL PRIMARY KEY,  -- agencies/nca
    display_name TEXT COLLATE "C"   NOT NULL,
    created_us   BIGINT NOT NULL,
    updated_us   BIGINT NOT NULL,
    created_seq  BIGINT NOT NULL,
    updated_seq  BIGINT NOT NULL
);

CREATE TABLE platform_host (
    host     TEXT COLLATE "C"   NOT NULL PRIMARY KEY,
    platform TEXT COLLATE "C"   NOT NULL,
    place    BIGINT NOT NULL  -- the host's place in the platform's list
);
CREATE INDEX platform_host_platform ON platform_host (platform, place);

CREATE TABLE target (
    target_key    BYTEA   NOT NULL PRIMARY KEY,  -- 16 bytes of SHA-256 over platform and canonical address
    platform      TEXT COLLATE "C"   NOT NULL,
    canonical_url TEXT COLLATE "C"   NOT NULL,
    first_seq     BIGINT NOT NULL               -- the event that first named it
);

CREATE TABLE referral (
    seq                    BIGINT NOT NULL PRIMARY KEY,  -- the event that created it
    updated_seq            BIGINT NOT NULL,              -- the last event that changed it
    referral_id            BYTEA    NOT NULL UNIQUE,       -- 16 bytes
    agency                 TEXT COLLATE "C"    NOT NULL,
    platform               TEXT COLLATE "C"    NOT NULL,
    target_key             BYTEA    NOT NULL,
    target_kind            BIGINT NOT NULL,
    url                    TEXT COLLATE "C"    NOT NULL,              -- as the agency gave it
    native_id              TEXT COLLATE "C"    NOT NULL,
    nature                 BIGINT NOT NULL,
    ground                 BIGINT NOT NULL,
    legal_code             TEXT COLLATE "C"    NOT NULL,
    legal_statute          TEXT COLLATE "C"    NOT NULL,
    legal_section          TEXT COLLATE "C"    NOT NULL,
    statement              TEXT COLLATE "C"    NOT NULL,
    statement_language     TEXT COLLATE "C"    NOT NULL,
    content_language       TEXT COLLATE "C"    NOT NULL,
    occurred_us            BIGINT NOT NULL,
    recorded_us            BIGINT NOT NULL,
    state                  BIGINT NOT NULL,              -- 1 submitted, 2 withdrawn
    withdrawn_us           BIGINT,
    withdrawal_recorded_us BIGINT,
    withdrawal_reason      TEXT COLLATE "C"
);
CREATE INDEX referral_agency ON referral (agency, seq);
CREATE INDEX referral_platform ON referral (platform, seq);
