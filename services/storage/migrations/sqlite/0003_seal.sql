-- The keys of what can be erased of events: erasing is destroying a key.
-- The same columns and types as in the other engine's; a test compares them.

CREATE TABLE seal_key (
    subject BLOB NOT NULL PRIMARY KEY,  -- 16 bytes: a referral
    keys    BLOB NOT NULL               -- for each group that is not erased: its number, and 32 bytes
) WITHOUT ROWID;
