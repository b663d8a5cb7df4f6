-- depends: pipeline-0004.record-instance

-- An external PostgreSQL is often owned by a role that is no superuser. Its SECURITY DEFINER functions must still
-- read the tables that are asked before the tenant is known, so these do not force their policies on the owner;
-- gateways, workers and the portal run as radmeter_app, which always obeys them.
ALTER TABLE tenant NO FORCE ROW LEVEL SECURITY;
ALTER TABLE peer NO FORCE ROW LEVEL SECURITY;
ALTER TABLE portal_user NO FORCE ROW LEVEL SECURITY;
ALTER TABLE portal_session NO FORCE ROW LEVEL SECURITY;
ALTER TABLE api_key NO FORCE ROW LEVEL SECURITY;
ALTER TABLE study NO FORCE ROW LEVEL SECURITY;

-- The owner's connections become radmeter_app, for which it must be a member.
GRANT radmeter_app TO CURRENT_USER;
