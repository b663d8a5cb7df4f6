-- depends: pipeline-0211.when-complete
-- A study that a limit of the contract holds back: visible, with its reason, until the limit lets it go on.

ALTER TABLE study DROP CONSTRAINT study_status_check;
ALTER TABLE study ADD CONSTRAINT study_status_check CHECK (status IN ('receiving', 'assembled', 'routed', 'held', 'decoded',
    'inferred', 'encoded', 'delivered', 'shadowed', 'rejected', 'failed', 'prior'));
ALTER TABLE study DROP CONSTRAINT study_check;
ALTER TABLE study ADD CONSTRAINT study_check CHECK ((status IN ('held', 'rejected', 'failed')) = (reason_code IS NOT NULL));
CREATE INDEX study_held ON study (tenant, created_at) WHERE status = 'held';

-- The worker looks at the limits of every tenant.
CREATE FUNCTION every_tenant() RETURNS TABLE (tenant text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT tenant.tenant FROM tenant ORDER BY tenant.tenant
$$;
