-- The Merkle tree over the log. A log from before is brought into it when it is opened.
-- The same columns and types as in migrations/postgres; a test compares them.

ALTER TABLE event_head ADD COLUMN tree BLOB NOT NULL DEFAULT x'';  -- the tree as far as it takes to grow it; empty: no leaf yet

ALTER TABLE event ADD COLUMN leaf BLOB;  -- RFC 6962's leaf hash of the event; without one until the tree has grown over it

ALTER TABLE event_archive ADD COLUMN leaf BLOB;

-- The complete nodes of every eighth level, which proofs are made of. Never changed.
CREATE TABLE tree_node (
    level BIGINT NOT NULL,  -- 8, 16, …: over 2^level leaves
    idx   BIGINT NOT NULL,  -- its number among those of its level, from 0
    hash  BLOB   NOT NULL,
    PRIMARY KEY (level, idx)
) WITHOUT ROWID;
