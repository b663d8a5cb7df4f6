-- depends: pipeline-0012.routing-rules pipeline-0109.priors

-- A result that is kept for comparison: neither delivered nor charged.
ALTER TABLE result ADD COLUMN is_shadow boolean NOT NULL DEFAULT false;
ALTER TABLE study DROP CONSTRAINT study_status_check;
ALTER TABLE study ADD CONSTRAINT study_status_check CHECK (status IN ('receiving', 'assembled', 'routed', 'decoded', 'inferred',
    'encoded', 'delivered', 'shadowed', 'rejected', 'failed', 'prior'));
