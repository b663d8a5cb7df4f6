-- depends: pipeline-0582.audit-syslog

-- No function that answers before the tenant is known reads these: their owner obeys the policy too.
ALTER TABLE recovery_code FORCE ROW LEVEL SECURITY;
ALTER TABLE report_link_opening FORCE ROW LEVEL SECURITY;
