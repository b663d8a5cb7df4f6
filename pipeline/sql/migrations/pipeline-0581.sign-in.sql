-- depends: pipeline-0580.sign-in-roles

-- People: of a password or of an OpenID provider, with or without a second factor.
ALTER TABLE portal_user
    ALTER COLUMN password_hash DROP NOT NULL,                            -- null = signs in by OpenID Connect alone
    ADD COLUMN openid_subject text CHECK (length(openid_subject) <= 255), -- `sub` of the tenant's provider
    ADD COLUMN language text CHECK (language IN ('en', 'zh')),            -- null = the tenant's
    ADD COLUMN disabled_at timestamptz,
    ADD COLUMN must_change_password boolean NOT NULL DEFAULT false,
    ADD COLUMN totp_secret text,                                          -- encrypted; null = no second factor
    ADD COLUMN totp_last_step bigint NOT NULL DEFAULT 0,                  -- the latest 30 s step whose code was used
    ADD CONSTRAINT portal_user_can_sign_in CHECK (password_hash IS NOT NULL OR openid_subject IS NOT NULL);
CREATE UNIQUE INDEX portal_user_of_subject ON portal_user (tenant, openid_subject);

CREATE TABLE recovery_code (
    tenant     text NOT NULL,
    user_name  text NOT NULL,
    code_hash  bytea NOT NULL,
    PRIMARY KEY (tenant, user_name, code_hash),
    FOREIGN KEY (tenant, user_name) REFERENCES portal_user (tenant, name) ON DELETE CASCADE
);

ALTER TABLE portal_session
    ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE, -- names it to its owner; it opens nothing
    ADD COLUMN address text NOT NULL DEFAULT '',
    ADD COLUMN device text NOT NULL DEFAULT '' CHECK (length(device) <= 200),
    ADD COLUMN last_used_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN by_openid boolean NOT NULL DEFAULT false,
    ADD COLUMN second_factor_at timestamptz;
CREATE INDEX portal_session_of_user ON portal_session (tenant, user_name);

ALTER TABLE api_key
    ADD COLUMN created_by text,
    ADD COLUMN last_used_at timestamptz;

-- People of these roles sign in with a second factor or not at all.
ALTER TABLE tenant ADD COLUMN second_factor_roles text[] NOT NULL DEFAULT '{}';

CREATE TABLE openid_provider (
    tenant         text PRIMARY KEY REFERENCES tenant,
    issuer         text NOT NULL CHECK (length(issuer) <= 500),
    client_id      text NOT NULL CHECK (length(client_id) BETWEEN 1 AND 255),
    secret_file    text,                                      -- in the folder of secrets; null = a public client
    public_url     text NOT NULL,                             -- where browsers reach this portal
    label          text NOT NULL CHECK (length(label) BETWEEN 1 AND 60),
    scopes         text NOT NULL DEFAULT 'openid profile email',
    name_claim     text NOT NULL DEFAULT 'preferred_username',
    groups_claim   text NOT NULL DEFAULT 'groups',
    roles          jsonb NOT NULL DEFAULT '[]',               -- [[group, role], …]: the first that a person has, counts
    algorithms     text[] NOT NULL DEFAULT '{RS256,ES256,PS256}',
    clock_skew_s   integer NOT NULL DEFAULT 60 CHECK (clock_skew_s BETWEEN 0 AND 300),
    enabled        boolean NOT NULL DEFAULT true
);

-- A sign-in by OpenID Connect between the way out and the way back.
CREATE TABLE openid_attempt (
    tenant         text NOT NULL REFERENCES tenant,
    browser_hash   bytea PRIMARY KEY, -- of the cookie that binds it to one browser
    state          text NOT NULL,
    nonce          text NOT NULL,
    code_verifier  text NOT NULL,
    next           text NOT NULL,
    expires_at     timestamptz NOT NULL
);

-- One report for whoever holds the link.
CREATE TABLE report_link (
    tenant        text NOT NULL REFERENCES tenant,
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    token_hash    bytea NOT NULL UNIQUE,
    study_id      uuid NOT NULL REFERENCES study,
    label         text NOT NULL CHECK (length(label) <= 100), -- whom it is for
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    views_max     integer NOT NULL CHECK (views_max BETWEEN 1 AND 1000),
    views         integer NOT NULL DEFAULT 0 CHECK (views BETWEEN 0 AND views_max),
    pin_hash      text,
    pin_failures  integer NOT NULL DEFAULT 0,
    revoked_at    timestamptz
);
CREATE INDEX report_link_of_study ON report_link (tenant, study_id);

-- A link that was opened: good for the report, its images and its PDF, for half an hour.
CREATE TABLE report_link_opening (
    tenant      text NOT NULL REFERENCES tenant,
    token_hash  bytea PRIMARY KEY,
    link_id     uuid NOT NULL REFERENCES report_link ON DELETE CASCADE,
    expires_at  timestamptz NOT NULL
);

DO $$
DECLARE
    name text;
BEGIN
    -- Not forced on the owner, whose SECURITY DEFINER functions answer before the tenant is known.
    FOREACH name IN ARRAY ARRAY['recovery_code', 'openid_provider', 'openid_attempt', 'report_link', 'report_link_opening']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;
REVOKE INSERT, UPDATE, DELETE ON openid_provider FROM radmeter_app;
GRANT UPDATE (second_factor_roles) ON tenant TO radmeter_app;

-- The questions that come before the tenant is known.
DROP FUNCTION find_portal_session(bytea);
CREATE FUNCTION find_portal_session(hash bytea, idle interval) RETURNS TABLE (
    tenant text, id uuid, user_name text, role text, party_id text, language text, expires_at timestamptz,
    last_used_at timestamptz, must_change_password boolean, has_second_factor boolean, passed_second_factor boolean,
    by_openid boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT s.tenant, s.id, s.user_name, u.role, u.party_id, u.language, s.expires_at, s.last_used_at,
           u.must_change_password, u.totp_secret IS NOT NULL, s.second_factor_at IS NOT NULL, s.by_openid
    FROM portal_session s JOIN portal_user u ON u.tenant = s.tenant AND u.name = s.user_name
    WHERE s.token_hash = hash AND s.expires_at > now() AND s.last_used_at > now() - idle AND u.disabled_at IS NULL
$$;
CREATE FUNCTION openid_providers() RETURNS TABLE (tenant text, label text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT tenant, label FROM openid_provider WHERE enabled ORDER BY tenant
$$;
-- Once only: it is gone when it is asked for.
CREATE FUNCTION take_openid_attempt(hash bytea) RETURNS SETOF openid_attempt
LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
    DELETE FROM openid_attempt WHERE browser_hash = hash RETURNING *
$$;
CREATE FUNCTION find_report_link(hash bytea) RETURNS TABLE (tenant text, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT tenant, id FROM report_link WHERE token_hash = hash
$$;
