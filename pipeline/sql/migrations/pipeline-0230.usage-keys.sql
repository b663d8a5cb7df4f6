-- depends: pipeline-0211.when-complete

-- A key with a usage source records usage events under that source, and reads nothing but them. Limits of every key: how
-- many requests it may make in a minute, and how many at once.
ALTER TABLE api_key
    ADD COLUMN usage_source text CHECK (
        usage_source ~ '^[a-z0-9][a-z0-9_-]{0,63}$' AND usage_source NOT IN ('pipeline', 'person', 'api', 'csv')
    ),
    ADD COLUMN requests_per_minute integer NOT NULL DEFAULT 600 CHECK (requests_per_minute BETWEEN 1 AND 1000000),
    ADD COLUMN concurrent_max integer NOT NULL DEFAULT 8 CHECK (concurrent_max BETWEEN 1 AND 1000),
    ADD CONSTRAINT one_purpose CHECK (ae_title IS NULL OR usage_source IS NULL);
