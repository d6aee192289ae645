-- The reporting service's state: a view of its log, which can be rebuilt from it.
-- The same columns and types as in migrations/sqlite; a test compares them. Text sorts by bytes, as SQLite sorts it.

-- The cube. Days are counted from 1970-01-01 UTC; codes are the numbers of the contract's enums.
CREATE TABLE cell (
    cell_key         BYTEA  NOT NULL PRIMARY KEY,  -- 16 bytes of SHA-256 over everything below but the count
    cohort_day       BIGINT NOT NULL,              -- when it was referred
    event_day        BIGINT NOT NULL,              -- when it entered or left this place
    recorded_day     BIGINT NOT NULL,              -- when the owning service recorded that
    agency           TEXT COLLATE "C"  NOT NULL,
    platform         TEXT COLLATE "C"  NOT NULL,
    ground           BIGINT NOT NULL,
    target_kind      BIGINT NOT NULL,
    nature           BIGINT NOT NULL,
    content_language TEXT COLLATE "C"  NOT NULL,
    clause           TEXT COLLATE "C"  NOT NULL,              -- of the latest decision; empty for none
    clause_version   BIGINT NOT NULL,
    disposition      BIGINT NOT NULL,
    clock            BIGINT NOT NULL,              -- 0 no decision yet, 1 first decided, 2 withdrawn undecided
    clock_days       BIGINT NOT NULL,              -- after so many days; 0 while running
    signed_count     BIGINT NOT NULL               -- entered less left
);
CREATE INDEX cell_cohort ON cell (cohort_day);
CREATE INDEX cell_agency ON cell (agency, cohort_day);
CREATE INDEX cell_platform ON cell (platform, cohort_day);

CREATE TABLE heard (
    source TEXT COLLATE "C"  NOT NULL PRIMARY KEY,  -- the log that is followed
    day    BIGINT NOT NULL               -- when the newest change that was taken in had been recorded
);
