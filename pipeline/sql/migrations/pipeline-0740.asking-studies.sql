-- depends: pipeline-0670.begun-steps pipeline-0730.key-use
-- phase: expand

-- Studies that stand still until a person says process or discard are counted. Nothing else of the function changes.
DO $do$
DECLARE
    earlier text := pg_get_functiondef('observe_installation()'::regprocedure);
    marked  text := '        -- Nothing that waits is ever without a job: these would wait for ever.';
    later   text := replace(earlier, marked,
        $$        RETURN QUERY
        SELECT 'studies_asking', ARRAY[]::text[], count(*)::double precision FROM arrival a
        WHERE a.tenant = this AND a.closed_at IS NULL AND a.decision ->> 'verdict' = 'ask';

$$ || marked);
BEGIN
    IF later = earlier THEN
        RAISE EXCEPTION 'observe_installation() does not look for studies without a job as expected';
    END IF;
    EXECUTE later;
END
$do$;
