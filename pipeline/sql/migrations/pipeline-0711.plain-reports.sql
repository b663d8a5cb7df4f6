-- depends: pipeline-0710.broken-pauses
-- phase: expand

-- SR2D: the report as Comprehensive SR; TEXT: as Basic Text SR. Both only stand in where the SR is refused.
ALTER TABLE result_object DROP CONSTRAINT result_object_kind_check,
    ADD CONSTRAINT result_object_kind_check
        CHECK (kind IN ('SR', 'SEG', 'PM', 'PDF', 'SC', 'KEYS', 'KOS', 'GSPS', 'SR2D', 'TEXT', 'FHIR', 'ORU', 'EVENT'));
ALTER TABLE destination DROP CONSTRAINT destination_fallbacks_check,
    ADD CONSTRAINT destination_fallbacks_check CHECK (fallbacks <@ ARRAY['SR2D', 'TEXT', 'GSPS', 'SC', 'PDF']);
