-- depends: pipeline-0560.verdicts

-- What the work list says and sorts by, kept with the study so that a page of it is one walk along an index.
ALTER TABLE result ADD COLUMN worst_category text, -- of the tenant's guideline, where one was chosen and gave one
    ADD COLUMN critical text[] NOT NULL DEFAULT '{}'; -- codes of pipeline/critical_findings.py
ALTER TABLE study ADD COLUMN finding_count integer, -- null: nothing has looked for findings
    ADD COLUMN has_measures boolean NOT NULL DEFAULT false, -- structures were measured
    ADD COLUMN worst_category text,
    ADD COLUMN critical text[] NOT NULL DEFAULT '{}',
    ADD COLUMN review_state text NOT NULL DEFAULT 'not_reviewed'
        CHECK (review_state IN ('not_reviewed', 'in_review', 'reviewed', 'superseded')),
    ADD COLUMN is_overdue boolean NOT NULL DEFAULT false,
    ADD COLUMN urgency_lapsed boolean NOT NULL DEFAULT false,
    ADD COLUMN urgency smallint NOT NULL DEFAULT 0, -- 3 critical, 2 emergency, 1 overdue: these stand first
    ADD COLUMN search_text text NOT NULL DEFAULT '',
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();

CREATE FUNCTION search_form(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(normalize($1, NFKC))
$$;

CREATE FUNCTION keep_study_listed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_ended boolean := NEW.status IN ('delivered', 'shadowed', 'rejected', 'failed', 'prior');
    v_read  boolean := NEW.review_state IN ('reviewed', 'superseded');
BEGIN
    IF v_ended OR TG_OP = 'UPDATE' AND NEW.status <> OLD.status THEN
        NEW.is_overdue := false;
    END IF;
    NEW.urgency := CASE
        WHEN NEW.urgency_lapsed OR NEW.purpose = 'prior' THEN 0
        WHEN NEW.critical <> '{}' AND NOT v_read THEN 3
        WHEN NEW.priority = 'emergency' AND NOT v_read THEN 2
        WHEN NEW.is_overdue THEN 1
        ELSE 0 END;
    IF NEW.search_text = '' OR NEW.header IS DISTINCT FROM OLD.header THEN
        -- The name with and without the marks between its parts: "小明" and "王小明" find 王^小明.
        NEW.search_text := search_form(left(concat_ws(E'\n', NEW.header->>'patient_name',
            replace(NEW.header->>'patient_name', '^', ''), replace(NEW.header->>'patient_name', '^', ' '),
            NEW.header->>'patient_id', NEW.header->>'accession_number', NEW.header->>'description',
            NEW.study_instance_uid, NEW.id::text), 4000));
    END IF;
    NEW.changed_at := clock_timestamp();
    RETURN NEW;
END
$$;
CREATE TRIGGER study_is_listed BEFORE INSERT OR UPDATE ON study FOR EACH ROW EXECUTE FUNCTION keep_study_listed();

-- The newest result of each product counts; what ran in shadow never.
CREATE FUNCTION listed_findings(p_tenant text, p_study_id uuid)
RETURNS TABLE (found integer, has_measures boolean, critical text[], worst_category text) LANGUAGE sql STABLE AS $$
    SELECT (sum(one.found) FILTER (WHERE NOT one.only_measures))::integer, coalesce(bool_or(one.only_measures), false),
           coalesce((SELECT array_agg(DISTINCT code) FROM unnest(string_to_array(string_agg(one.critical, ','), ',')) code
                     WHERE code <> ''), '{}'),
           (array_agg(one.worst_category ORDER BY one.revision DESC) FILTER (WHERE one.worst_category IS NOT NULL))[1]
    FROM (
        SELECT jsonb_array_length(r.findings)
               + (SELECT count(*)::integer FROM jsonb_path_query(r.answer, '$.classifications[*] ? (@.is_positive == true)'))
               AS found,
               r.answer @? '$.structures[*]' AND NOT r.answer @? '$.classifications[*]' AND r.findings = '[]'
               AS only_measures,
               array_to_string(r.critical, ',') AS critical, r.worst_category, r.revision
        FROM result r
        WHERE r.tenant = p_tenant AND r.study_id = p_study_id AND NOT r.is_shadow
          AND r.revision = (SELECT max(latest.revision) FROM result latest
                            WHERE latest.study_id = r.study_id AND latest.product = r.product)
    ) AS one
$$;
CREATE FUNCTION keep_findings_listed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.is_shadow THEN
        RETURN NULL;
    END IF;
    UPDATE study s SET finding_count = n.found, has_measures = n.has_measures, critical = n.critical,
        worst_category = n.worst_category,
        -- What a person has read is not what a new result says.
        review_state = CASE TG_OP WHEN 'INSERT' THEN 'not_reviewed' ELSE s.review_state END,
        urgency_lapsed = s.urgency_lapsed AND TG_OP <> 'INSERT'
    FROM listed_findings(NEW.tenant, NEW.study_id) n WHERE s.tenant = NEW.tenant AND s.id = NEW.study_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER result_is_listed AFTER INSERT OR UPDATE OF critical, worst_category ON result
    FOR EACH ROW EXECUTE FUNCTION keep_findings_listed();

-- A study is reviewed when the last word on each of its results is that the review is finished; measures are none.
CREATE FUNCTION keep_review_listed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE study s SET review_state = n.state
    FROM (
        SELECT CASE WHEN bool_and(coalesce(last.kind = 'finish', false)) THEN 'reviewed'
                    WHEN bool_or(last.kind IS NOT NULL) THEN 'in_review' ELSE 'not_reviewed' END AS state
        FROM result r LEFT JOIN LATERAL (
            SELECT v.kind FROM verdict v WHERE v.tenant = r.tenant AND v.study_id = r.study_id
                AND v.revision = r.revision AND v.product = r.product ORDER BY v.id DESC LIMIT 1) last ON true
        WHERE r.tenant = NEW.tenant AND r.study_id = NEW.study_id AND NOT r.is_shadow
          AND NOT (r.answer @? '$.structures[*]' AND NOT r.answer @? '$.classifications[*]' AND r.findings = '[]')
          AND r.revision = (SELECT max(latest.revision) FROM result latest
                            WHERE latest.study_id = r.study_id AND latest.product = r.product)
    ) n
    WHERE s.tenant = NEW.tenant AND s.id = NEW.study_id AND n.state IS NOT NULL AND s.review_state <> n.state;
    RETURN NULL;
END
$$;
CREATE TRIGGER verdict_is_listed AFTER INSERT ON verdict FOR EACH ROW EXECUTE FUNCTION keep_review_listed();

-- Studies of before: what can be counted is; categories were in the reports alone, so old studies have none here.
ALTER TABLE result NO FORCE ROW LEVEL SECURITY;
UPDATE study SET urgency_lapsed = updated_at < now() - interval '7 days'; -- this fills search_text too
UPDATE study s SET finding_count = n.found, has_measures = n.has_measures
FROM result r, listed_findings(r.tenant, r.study_id) n WHERE s.tenant = r.tenant AND s.id = r.study_id;
UPDATE result SET critical = '{pneumothorax}' WHERE NOT is_shadow AND answer @?
    '$.classifications[*] ? (@.label == "pneumothorax" && @.is_positive == true)';
ALTER TABLE result FORCE ROW LEVEL SECURITY;

CREATE INDEX study_listed ON study (tenant, urgency DESC, created_at DESC, id DESC);
CREATE INDEX study_counted ON study (tenant, status, urgency, review_state);
CREATE INDEX study_changed ON study (tenant, changed_at DESC);
CREATE INDEX study_unended ON study (tenant, updated_at)
    WHERE status IN ('receiving', 'assembled', 'routed', 'decoded', 'inferred', 'encoded') AND NOT is_overdue;
CREATE INDEX study_urgent ON study (tenant, updated_at) WHERE urgency > 0;
CREATE INDEX arrival_closed ON arrival (tenant, closed_at DESC);
