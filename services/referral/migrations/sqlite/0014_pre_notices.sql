-- Pre-notices, and what decides whether an agency's first removal order to a platform may be sent.
-- The same columns and types as in the other engine's; a test compares them.

CREATE TABLE pre_notice (
    created_seq   INTEGER NOT NULL PRIMARY KEY,  -- the event that recorded it
    pre_notice_id BLOB    NOT NULL UNIQUE,       -- 16 bytes
    agency        TEXT    NOT NULL,
    platform      TEXT    NOT NULL,
    body          BLOB    NOT NULL              -- as the contract writes it
);
CREATE INDEX pre_notice_agency ON pre_notice (agency, created_seq);
CREATE INDEX pre_notice_platform ON pre_notice (platform, created_seq);

CREATE TABLE order_gate (
    pair            TEXT   NOT NULL PRIMARY KEY,  -- agency/platform
    first_order_us  BIGINT,                       -- when the first removal order was sent; none so far
    first_notice_us BIGINT,                       -- when the first pre-notice was given; none so far
    notices         BIGINT NOT NULL
);
-- Of the orders that were sent before: the regime is the first field of what the contract writes, and 1 is TCO.
INSERT INTO order_gate (pair, first_order_us, notices)
SELECT agency || '/' || platform, MIN(occurred_us), 0 FROM referral WHERE substr(order_terms, 1, 2) = x'0801' GROUP BY agency, platform;
