-- What a decision means for whoever posted the content.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE decision ADD COLUMN redress TEXT NOT NULL DEFAULT '';              -- numbers, a comma after each
ALTER TABLE decision ADD COLUMN notification BIGINT NOT NULL DEFAULT 0;           -- 0: not said
ALTER TABLE decision ADD COLUMN notification_exemption BIGINT NOT NULL DEFAULT 0;
ALTER TABLE decision ADD COLUMN suppressed_until_us BIGINT;
