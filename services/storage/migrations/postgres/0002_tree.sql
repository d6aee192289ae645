-- The Merkle tree over the log. A log from before is brought into it when it is opened.
-- The same columns and types as in migrations/sqlite; a test compares them.

ALTER TABLE event_head ADD COLUMN tree BYTEA NOT NULL DEFAULT '';

ALTER TABLE event ADD COLUMN leaf BYTEA;

ALTER TABLE event_archive ADD COLUMN leaf BYTEA;

CREATE TABLE tree_node (
    level BIGINT NOT NULL,
    idx   BIGINT NOT NULL,
    hash  BYTEA  NOT NULL,
    PRIMARY KEY (level, idx)
);
