-- The provision on which a referral rests divides the cube. What was counted before does not tell it: the logs are read again,
-- and no figures are given until that is done (see 0005).
ALTER TABLE cell ADD COLUMN legal_basis TEXT COLLATE "C" NOT NULL DEFAULT '';  -- its code; empty for none

INSERT INTO refill (source, position, begun)
    SELECT source, seq, 0 FROM followed WHERE source IN ('referral', 'decision')
    ON CONFLICT (source) DO UPDATE SET position = excluded.position;
UPDATE refill SET begun = 0;
DELETE FROM followed;
