-- depends: pipeline-0583.forced-policies
-- phase: expand

-- Which migrations only add and which take away: code of an older version looks here whether it may still run. Read by
-- the owner of the schema alone.
CREATE TABLE schema_phase (
    migration text PRIMARY KEY,
    phase text NOT NULL CHECK (phase IN ('expand', 'contract')),
    -- Of a migration that takes away: code that knows this one has stopped reading what is gone.
    after text CHECK ((phase = 'contract') = (after IS NOT NULL))
);
