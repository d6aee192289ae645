-- Flows: how many came into a bucket, whether or not they stayed. What was counted before does not tell it: the logs are read again,
-- and no figures are given until that is done (see 0005).
ALTER TABLE cell ADD COLUMN entered BIGINT NOT NULL DEFAULT 0;  -- came there from another bucket, or were referred

INSERT INTO refill (source, position, begun)
    SELECT source, seq, 0 FROM followed WHERE source IN ('referral', 'decision')
    ON CONFLICT (source) DO UPDATE SET position = excluded.position;
UPDATE refill SET begun = 0;
DELETE FROM followed;
