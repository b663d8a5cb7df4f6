-- depends: pipeline-0650.heartbeat
-- phase: expand

-- Each process that serves says every few seconds that it is there. It belongs to no tenant and tells nothing of any.
CREATE TABLE node (
    name              text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 200), -- host, role and process id
    host              text NOT NULL,
    role              text NOT NULL CHECK (role IN ('gateway', 'worker', 'portal', 'triton', 'backup')),
    version           text NOT NULL,
    newest_migration  text NOT NULL, -- that its code knows
    started_at        timestamptz NOT NULL, -- by the database's clock, like all here
    seen_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    clock_ahead_s     double precision NOT NULL -- how far its clock is ahead of the database's
);
GRANT SELECT, INSERT, UPDATE, DELETE ON node TO radmeter_app;
