-- depends: pipeline-0510.kinds-by-default pipeline-0520.conformance

-- What stands in, in this order, where a destination refuses the SR; PDF is what every set has.
ALTER TABLE destination ADD COLUMN fallbacks text[] NOT NULL DEFAULT ARRAY['PDF']
    CHECK (fallbacks <@ ARRAY['GSPS', 'SC', 'PDF']);

-- replaced: the destination refused this object, and another one of the same result stands there instead.
ALTER TABLE delivery ADD COLUMN replaced_by text;
ALTER TABLE delivery DROP CONSTRAINT delivery_state_check,
    ADD CONSTRAINT delivery_state_check
        CHECK (state IN ('waiting', 'acknowledged', 'confirmed', 'refused', 'dead', 'replaced')),
    ADD CONSTRAINT delivery_replaced CHECK ((state = 'replaced') = (replaced_by IS NOT NULL));
CREATE INDEX delivery_replaced_at ON delivery (tenant, destination) WHERE state = 'replaced';
