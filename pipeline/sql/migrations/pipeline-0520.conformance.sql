-- depends: pipeline-0500.object-kinds

-- What our own check said of the objects of a result before they left: version of the rules, kinds, problems, time it
-- took. Null where nothing was encoded, and for results of earlier releases. Holds no patient data and no UIDs.
ALTER TABLE result ADD COLUMN conformance jsonb CHECK (jsonb_typeof(conformance) = 'object');
