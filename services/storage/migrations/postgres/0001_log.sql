-- What every service has: its event log, the requests it has answered, and how far it has followed other logs.
-- The same columns and types as in migrations/sqlite; a test compares them. Text sorts by bytes, as SQLite sorts it.

CREATE TABLE event_head (
    id          BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch       BYTEA  NOT NULL,
    last        BIGINT NOT NULL,
    compacted   BIGINT NOT NULL,
    recorded_us BIGINT NOT NULL
);

CREATE TABLE event (
    seq         BIGINT NOT NULL PRIMARY KEY,
    recorded_us BIGINT NOT NULL,
    agency      TEXT COLLATE "C" NOT NULL,
    platform    TEXT COLLATE "C" NOT NULL,
    actor       TEXT COLLATE "C" NOT NULL,
    body        BYTEA  NOT NULL
);

CREATE TABLE event_archive (
    seq         BIGINT NOT NULL PRIMARY KEY,
    recorded_us BIGINT NOT NULL,
    agency      TEXT COLLATE "C" NOT NULL,
    platform    TEXT COLLATE "C" NOT NULL,
    actor       TEXT COLLATE "C" NOT NULL,
    body        BYTEA  NOT NULL
);

CREATE TABLE request_log (
    request_id   BYTEA  NOT NULL,
    principal    TEXT COLLATE "C" NOT NULL,
    request_hash BYTEA  NOT NULL,
    first_seq    BIGINT NOT NULL,
    events       BIGINT NOT NULL,
    PRIMARY KEY (request_id, principal)
);

CREATE TABLE followed (
    source TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    epoch  BYTEA  NOT NULL,
    seq    BIGINT NOT NULL
);
