-- Candidates for replay: decisions that rest on a permission which the version in force ends.
-- The same columns and types as in the other engine's; a test compares them.

ALTER TABLE clause_version ADD COLUMN ends_permission_of TEXT NOT NULL DEFAULT '';  -- numbers, a comma after each

ALTER TABLE cases ADD COLUMN replay_clause TEXT NOT NULL DEFAULT '';   -- empty: no candidate
ALTER TABLE cases ADD COLUMN replay_version BIGINT NOT NULL DEFAULT 0;  -- the version that ends the permission
ALTER TABLE cases ADD COLUMN replay_since_us BIGINT;                    -- from when that is in force
CREATE INDEX cases_replay ON cases (seq) WHERE replay_version > 0;

CREATE INDEX citation_clause ON citation (clause, version, place);
