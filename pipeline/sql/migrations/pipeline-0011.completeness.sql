-- depends: pipeline-0009.query

-- quiet_time_s is where a peer starts; what is learned from its pauses lengthens it up to quiet_time_max_s. What a list
-- promises is waited for until force_after_s without an instance; then force_policy says what to do.
ALTER TABLE peer ADD COLUMN quiet_time_max_s double precision NOT NULL DEFAULT 120 CHECK (quiet_time_max_s BETWEEN 0.1 AND 3600);
ALTER TABLE peer ADD COLUMN force_after_s double precision NOT NULL DEFAULT 600 CHECK (force_after_s BETWEEN 1 AND 86400);
ALTER TABLE peer ADD COLUMN force_policy text NOT NULL DEFAULT 'process' CHECK (force_policy IN ('process', 'discard', 'ask'));

-- What new instances of a study do that has come to its end.
ALTER TABLE tenant ADD COLUMN late_policy text NOT NULL DEFAULT 'run' CHECK (late_policy IN ('run', 'ask', 'ignore'));

-- The present decision about an open arrival, the last one about a closed one: verdict, code and values of the reason,
-- and the evidence that made it.
ALTER TABLE arrival ADD COLUMN decision jsonb NOT NULL DEFAULT '{}';
-- What earlier looks have seen and later ones need: headers, counts of the sender's archive.
ALTER TABLE arrival ADD COLUMN memory jsonb NOT NULL DEFAULT '{}';
ALTER TABLE arrival ADD COLUMN look_at timestamptz; -- when the next look is due: a job is queued for it
ALTER TABLE arrival ADD COLUMN ordered text CHECK (ordered IN ('process', 'discard')); -- what a person asked for
ALTER TABLE arrival ADD COLUMN ordered_by text;
ALTER TABLE arrival DROP CONSTRAINT arrival_outcome_check;
ALTER TABLE arrival ADD CONSTRAINT arrival_outcome_check
    CHECK (outcome IN ('assembled', 'seen_again', 'waiting', 'discarded', 'ignored'));
CREATE INDEX arrival_waiting ON arrival (tenant, association_id) WHERE closed_at IS NULL;

-- The longest pause inside each completed study: what the quiet time of a peer and modality is learned from.
CREATE TABLE longest_pause (
    tenant    text NOT NULL REFERENCES tenant,
    ae_title  text NOT NULL,
    modality  text NOT NULL,
    study_id  uuid NOT NULL REFERENCES study,
    pause_s   double precision NOT NULL CHECK (pause_s >= 0),
    archive_grew boolean, -- whether the sender's archive got more of it while it arrived; null where it was not asked
    seen_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (study_id, ae_title, modality)
);
CREATE INDEX longest_pause_recent ON longest_pause (tenant, ae_title, modality, seen_at DESC);

ALTER TABLE longest_pause ENABLE ROW LEVEL SECURITY;
ALTER TABLE longest_pause FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON longest_pause USING (tenant = current_setting('radmeter.tenant', true))
    WITH CHECK (tenant = current_setting('radmeter.tenant', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON longest_pause TO radmeter_app;
