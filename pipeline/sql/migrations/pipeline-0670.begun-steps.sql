-- depends: pipeline-0651.node pipeline-0640.observed
-- phase: expand

-- The step of a study that has begun has a job of up to 3 more than the priority of its study: the gauges of the queue
-- count it under the same word. Nothing else of the function changes, so only these words of it do.
DO $do$
DECLARE
    earlier text := pg_get_functiondef('observe_installation()'::regprocedure);
    later   text := replace(earlier,
        $$CASE j.priority WHEN 10 THEN 'emergency' WHEN 0 THEN 'normal' WHEN -10 THEN 'off_peak' END$$,
        $$CASE WHEN j.priority BETWEEN 10 AND 13 THEN 'emergency' WHEN j.priority BETWEEN 0 AND 3 THEN 'normal' WHEN j.priority BETWEEN -10 AND -7 THEN 'off_peak' END$$);
BEGIN
    IF later = earlier THEN
        RAISE EXCEPTION 'observe_installation() does not name the priorities as expected';
    END IF;
    EXECUTE later;
END
$do$;
