-- What every service has: its event log, the requests it has answered, and how far it has followed other logs.
-- The same columns and types as in migrations/postgres; a test compares them.

CREATE TABLE event_head (
    id          BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch       BLOB   NOT NULL,  -- 8 random bytes: tells one life of the log from another
    last        BIGINT NOT NULL,  -- number of the newest event
    compacted   BIGINT NOT NULL,  -- number of the newest event that streams no longer start before
    recorded_us BIGINT NOT NULL   -- when the newest event was recorded: time never runs backwards in a log
);

CREATE TABLE event (
    seq         INTEGER NOT NULL PRIMARY KEY,  -- gap-free, in commit order
    recorded_us BIGINT  NOT NULL,
    agency      TEXT    NOT NULL,  -- whose event it is; empty where it is nobody's
    platform    TEXT    NOT NULL,
    actor       TEXT    NOT NULL,
    body        BLOB    NOT NULL   -- the event as the public contract writes it
);

-- Events below the compaction floor: out of the way of streams, kept for rebuilding and for proof.
CREATE TABLE event_archive (
    seq         INTEGER NOT NULL PRIMARY KEY,
    recorded_us BIGINT  NOT NULL,
    agency      TEXT    NOT NULL,
    platform    TEXT    NOT NULL,
    actor       TEXT    NOT NULL,
    body        BLOB    NOT NULL
);

CREATE TABLE request_log (
    request_id   BLOB   NOT NULL,  -- 16 bytes, chosen by the caller
    principal    TEXT   NOT NULL,  -- the organisation that called
    request_hash BLOB   NOT NULL,  -- SHA-256 of method and content
    first_seq    BIGINT NOT NULL,  -- the first event that the request caused
    events       BIGINT NOT NULL,  -- how many it caused
    PRIMARY KEY (request_id, principal)
) WITHOUT ROWID;

CREATE TABLE followed (
    source TEXT   NOT NULL PRIMARY KEY,  -- the log that is followed
    epoch  BLOB   NOT NULL,
    seq    BIGINT NOT NULL               -- the newest event of it that is reflected here
) WITHOUT ROWID;
