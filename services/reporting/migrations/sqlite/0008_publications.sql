-- Published reports: each version as it was given out. Nothing is ever changed here.
-- The same columns and types as in the other engine's; a test compares them.

CREATE TABLE publication (
    publication_id BLOB NOT NULL,      -- 16 bytes
    version        BIGINT NOT NULL,    -- from 1
    published_seq  BIGINT NOT NULL UNIQUE, -- the event that published it
    publisher      TEXT NOT NULL,      -- as the contract names it
    question       BLOB NOT NULL,      -- SHA-256 of what is asked, and by whom: the same in each version
    figures        BLOB NOT NULL,      -- SHA-256 of what came out, whenever it was counted
    counted_seq    BIGINT NOT NULL,    -- up to where the cube is counted
    body           BLOB NOT NULL,      -- all but the rows
    report         BLOB NOT NULL,      -- the report as the contract writes it
    PRIMARY KEY (publication_id, version)
);
CREATE INDEX publication_question ON publication (question, version);
CREATE INDEX publication_publisher ON publication (publisher, published_seq);
