-- depends: pipeline-0500.object-kinds

-- What people said of one result of one model, in the order in which it was said. Nothing is changed or removed: who
-- takes a word back adds a row that says so, and a review is finished by a row of its own.
CREATE TABLE verdict (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant            text NOT NULL REFERENCES tenant,
    study_id          uuid NOT NULL REFERENCES study,
    revision          integer NOT NULL CHECK (revision >= 1),
    product           text NOT NULL CHECK (length(product) BETWEEN 1 AND 100),
    -- complete: the whole study shows no further finding. finish: the review is done. undo: takes back `undoes`.
    kind              text NOT NULL
                      CHECK (kind IN ('accept', 'reject', 'edit', 'missed', 'unsure', 'complete', 'undo', 'finish')),
    finding_uid       text CHECK (finding_uid ~ '^[0-9.]{1,64}$'), -- tracking UID of the finding or statement
    said_by           text NOT NULL CHECK (length(said_by) BETWEEN 1 AND 100),
    said_at           timestamptz NOT NULL,
    note              text NOT NULL DEFAULT '' CHECK (length(note) <= 2000),
    size_mm           double precision CHECK (size_mm > 0 AND size_mm <= 1000), -- mean diameter
    nodule_kind       text CHECK (nodule_kind IN ('solid', 'part_solid', 'ground_glass', 'calcified')),
    label             text NOT NULL DEFAULT '' CHECK (length(label) <= 64), -- of a missed finding
    sop_instance_uid  text CHECK (sop_instance_uid ~ '^[0-9.]{1,64}$'), -- of a missed finding: on which image, where
    frame_number      integer CHECK (frame_number >= 1),
    column_px         double precision CHECK (column_px >= 0 AND column_px <= 65535),
    row_px            double precision CHECK (row_px >= 0 AND row_px <= 65535),
    undoes            bigint REFERENCES verdict,
    review            integer CHECK (review >= 1), -- of a finish: how often this review has been finished with it
    CHECK ((kind IN ('accept', 'reject', 'edit', 'missed', 'unsure')) = (finding_uid IS NOT NULL)),
    CHECK (kind <> 'edit' OR size_mm IS NOT NULL OR nodule_kind IS NOT NULL),
    CHECK ((kind = 'missed') = (sop_instance_uid IS NOT NULL)),
    CHECK ((kind = 'missed') = (column_px IS NOT NULL) AND (kind = 'missed') = (row_px IS NOT NULL)),
    CHECK ((kind = 'undo') = (undoes IS NOT NULL)),
    CHECK ((kind = 'finish') = (review IS NOT NULL))
);
CREATE INDEX verdict_of_result ON verdict (tenant, study_id, revision, product, id);
CREATE UNIQUE INDEX verdict_undone_once ON verdict (undoes) WHERE undoes IS NOT NULL;
CREATE UNIQUE INDEX verdict_review ON verdict (tenant, study_id, revision, product, review) WHERE review IS NOT NULL;
CREATE INDEX verdict_by_time ON verdict (tenant, said_at);

ALTER TABLE verdict ENABLE ROW LEVEL SECURITY;
ALTER TABLE verdict FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON verdict USING (tenant = current_setting('radmeter.tenant', true))
    WITH CHECK (tenant = current_setting('radmeter.tenant', true));
GRANT SELECT, INSERT ON verdict TO radmeter_app;
GRANT USAGE, SELECT ON SEQUENCE verdict_id_seq TO radmeter_app;

CREATE FUNCTION refuse_verdict_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'verdicts are append-only: what was said is taken back by a further row';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON verdict FOR EACH ROW EXECUTE FUNCTION refuse_verdict_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON verdict EXECUTE FUNCTION refuse_verdict_change();

-- 0: as the model made it; else which finished review of it the object tells.
ALTER TABLE result_object ADD COLUMN review integer NOT NULL DEFAULT 0 CHECK (review >= 0);

-- Whether a finished review is the site's verification of the SR (Verification Flag VERIFIED), and who vouches for it.
ALTER TABLE tenant ADD COLUMN review_verifies boolean NOT NULL DEFAULT false;
