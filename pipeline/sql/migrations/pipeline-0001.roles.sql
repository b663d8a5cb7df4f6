-- The role that gateways, workers and the portal run under: it obeys row-level security.
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'radmeter_app') THEN
        CREATE ROLE radmeter_app NOLOGIN NOSUPERUSER NOBYPASSRLS;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of the same server was migrated at the same moment
END
$$;
GRANT USAGE ON SCHEMA public TO radmeter_app;
