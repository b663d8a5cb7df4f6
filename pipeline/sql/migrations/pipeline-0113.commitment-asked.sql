-- depends: pipeline-0013.destinations

-- The Transaction UID under which the destination was last asked to commit to the safekeeping of the object: its answer
-- may come later, on an association of its own.
ALTER TABLE delivery ADD COLUMN commitment_uid text;
CREATE INDEX delivery_commitment ON delivery (tenant, commitment_uid) WHERE commitment_uid IS NOT NULL;
