-- The referral service's state: a view of its log, which can be rebuilt from it.
-- The same columns and types as in migrations/postgres; a test compares them.

CREATE TABLE organisation (
    name         TEXT   NOT NULL PRIMARY KEY,  -- agencies/nca
    display_name TEXT   NOT NULL,
    created_us   BIGINT NOT NULL,
    updated_us   BIGINT NOT NULL,
    created_seq  BIGINT NOT NULL,
    updated_seq  BIGINT NOT NULL
);

CREATE TABLE platform_host (
    host     TEXT   NOT NULL PRIMARY KEY,
    platform TEXT   NOT NULL,
    place    BIGINT NOT NULL  -- the host's place in the platform's list
);
CREATE INDEX platform_host_platform ON platform_host (platform, place);

CREATE TABLE target (
    target_key    BLOB   NOT NULL PRIMARY KEY,  -- 16 bytes of SHA-256 over platform and canonical address
    platform      TEXT   NOT NULL,
    canonical_url TEXT   NOT NULL,
    first_seq     BIGINT NOT NULL               -- the event that first named it
);

CREATE TABLE referral (
    seq                    INTEGER NOT NULL PRIMARY KEY,  -- the event that created it
    updated_seq            BIGINT  NOT NULL,              -- the last event that changed it
    referral_id            BLOB    NOT NULL UNIQUE,       -- 16 bytes
    agency                 TEXT    NOT NULL,
    platform               TEXT    NOT NULL,
    target_key             BLOB    NOT NULL,
    target_kind            BIGINT  NOT NULL,
    url                    TEXT    NOT NULL,              -- as the agency gave it
    native_id              TEXT    NOT NULL,
    nature                 BIGINT  NOT NULL,
    ground                 BIGINT  NOT NULL,
    legal_code             TEXT    NOT NULL,
    legal_statute          TEXT    NOT NULL,
    legal_section          TEXT    NOT NULL,
    statement              TEXT    NOT NULL,
    statement_language     TEXT    NOT NULL,
    content_language       TEXT    NOT NULL,
    occurred_us            BIGINT  NOT NULL,
    recorded_us            BIGINT  NOT NULL,
    state                  BIGINT  NOT NULL,              -- 1 submitted, 2 withdrawn
    withdrawn_us           BIGINT,
    withdrawal_recorded_us BIGINT,
    withdrawal_reason      TEXT
);
CREATE INDEX referral_agency ON referral (agency, seq);
CREATE INDEX referral_platform ON referral (platform, seq);
