-- depends: pipeline-0441.model-bounds

-- PM: parametric map; KEYS: selection of key images (KOS stays the rejection note). FHIR, ORU and EVENT are what programs
-- other than a PACS are told: a bundle, an HL7 v2 message, and what webhooks and mails say.
ALTER TABLE result_object DROP CONSTRAINT result_object_kind_check,
    ADD CONSTRAINT result_object_kind_check
        CHECK (kind IN ('SR', 'SEG', 'PM', 'PDF', 'SC', 'KEYS', 'KOS', 'GSPS', 'FHIR', 'ORU', 'EVENT'));
ALTER TABLE destination DROP CONSTRAINT destination_object_kinds_check,
    ADD CONSTRAINT destination_object_kinds_check
        CHECK (object_kinds <@ ARRAY['SR', 'SEG', 'PM', 'PDF', 'SC', 'KEYS', 'KOS', 'GSPS', 'FHIR', 'ORU', 'EVENT']
               AND cardinality(object_kinds) > 0);
