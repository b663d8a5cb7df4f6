-- depends: pipeline-0311.site-of-peer

-- What a model says beside its findings: classifications, structures, notes, and the models whose answers it used.
ALTER TABLE result ADD COLUMN answer jsonb NOT NULL DEFAULT '{}'::jsonb CHECK (jsonb_typeof(answer) = 'object');
