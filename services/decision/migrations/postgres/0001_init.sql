-- The decision service's state: a view of its log, which can be rebuilt from it.
-- The same columns and types as in migrations/sqlite; a test compares them. Text sorts by bytes, as SQLite sorts it.

CREATE TABLE clause (
    name           TEXT COLLATE "C" NOT NULL PRIMARY KEY,  -- platforms/harbourbook/clauses/human-exploitation
    platform       TEXT COLLATE "C" NOT NULL,
    title          TEXT COLLATE "C" NOT NULL,
    latest_version BIGINT NOT NULL,              -- 0 while there is none
    created_us     BIGINT NOT NULL,
    updated_seq    BIGINT NOT NULL               -- the last event that changed it
);
CREATE INDEX clause_platform ON clause (platform, name);

CREATE TABLE clause_version (
    clause             TEXT COLLATE "C" NOT NULL,
    version            BIGINT NOT NULL,
    title              TEXT COLLATE "C" NOT NULL,
    text_digest        TEXT COLLATE "C" NOT NULL,  -- SHA-256 in lower-case hexadecimal
    effective_from_us  BIGINT NOT NULL,
    effective_until_us BIGINT,
    jurisdictions      TEXT COLLATE "C" NOT NULL,  -- country codes with a comma after each
    permits            TEXT COLLATE "C" NOT NULL,
    public_url         TEXT COLLATE "C" NOT NULL,
    recorded_us        BIGINT NOT NULL,
    PRIMARY KEY (clause, version)
);

CREATE TABLE cases (
    seq                      BIGINT NOT NULL PRIMARY KEY,  -- the event that opened it
    updated_seq              BIGINT  NOT NULL,              -- the last event that changed it
    decided_seq              BIGINT  NOT NULL,              -- the event of its latest decision; 0 while there is none
    case_id                  BYTEA NOT NULL UNIQUE,       -- 16 bytes, the referral's too
    agency                   TEXT COLLATE "C"  NOT NULL,
    platform                 TEXT COLLATE "C"  NOT NULL,
    target_kind              BIGINT  NOT NULL,
    url                      TEXT COLLATE "C"  NOT NULL,
    canonical_url            TEXT COLLATE "C"  NOT NULL,
    native_id                TEXT COLLATE "C"  NOT NULL,
    nature                   BIGINT  NOT NULL,
    ground                   BIGINT  NOT NULL,
    legal_code               TEXT COLLATE "C"  NOT NULL,
    legal_statute            TEXT COLLATE "C"  NOT NULL,
    legal_section            TEXT COLLATE "C"  NOT NULL,
    statement                TEXT COLLATE "C"  NOT NULL,
    statement_language       TEXT COLLATE "C"  NOT NULL,
    content_language         TEXT COLLATE "C"  NOT NULL,
    submitted_us             BIGINT  NOT NULL,
    submitted_recorded_us    BIGINT  NOT NULL,
    status                   BIGINT  NOT NULL,              -- 1 submitted, 2 received, 3 decided, 4 withdrawn
    acknowledged_us          BIGINT,
    acknowledged_recorded_us BIGINT,
    first_decided_us         BIGINT,
    withdrawn_us             BIGINT,
    withdrawal_recorded_us   BIGINT,
    withdrawal_reason TEXT COLLATE "C"
);
CREATE INDEX cases_agency ON cases (agency, seq);
CREATE INDEX cases_platform ON cases (platform, seq);
-- The inbox: what still waits for the platform, however much it has decided.
CREATE INDEX cases_waiting ON cases (platform, seq) WHERE status < 3;

CREATE TABLE decision (
    seq                BIGINT NOT NULL PRIMARY KEY,  -- the event that recorded it
    case_id            BYTEA NOT NULL,
    version            BIGINT  NOT NULL,
    agency             TEXT COLLATE "C"  NOT NULL,
    platform           TEXT COLLATE "C"  NOT NULL,
    kind               BIGINT  NOT NULL,              -- enumerations have the contract's numbers; 0 is none
    outcome            BIGINT  NOT NULL,
    restriction        BIGINT  NOT NULL,
    cannot_access      BIGINT  NOT NULL,
    gone_by            BIGINT  NOT NULL,
    protected_context  BIGINT  NOT NULL,
    items_closed       BIGINT  NOT NULL,
    items_total        BIGINT  NOT NULL,
    suspended_until_us BIGINT,
    duplicate_of       TEXT COLLATE "C"  NOT NULL,
    law                TEXT COLLATE "C"  NOT NULL,
    decided_by         BIGINT  NOT NULL,
    cause_kind         BIGINT  NOT NULL,
    cause_reference    TEXT COLLATE "C"  NOT NULL,
    decided_us         BIGINT  NOT NULL,
    effective_us       BIGINT,
    recorded_us        BIGINT  NOT NULL,
    territorial_scope  TEXT COLLATE "C"  NOT NULL,              -- country codes with a comma after each
    explanation        TEXT COLLATE "C"  NOT NULL,
    language_reviewed  TEXT COLLATE "C"  NOT NULL,
    UNIQUE (case_id, version)
);
CREATE INDEX decision_agency ON decision (agency, seq);
CREATE INDEX decision_platform ON decision (platform, seq);

CREATE TABLE citation (
    decision_seq BIGINT NOT NULL,
    place        BIGINT NOT NULL,  -- 0 is the decisive one
    clause       TEXT COLLATE "C" NOT NULL,
    version      BIGINT NOT NULL,
    PRIMARY KEY (decision_seq, place)
);
