-- depends: pipeline-0400.answer

-- The earlier study that a result was compared with. What a model said about it for that purpose is no result of it: it is
-- neither stored as one, nor delivered, nor charged.
ALTER TABLE result ADD COLUMN prior_study_id uuid REFERENCES study;
CREATE INDEX result_prior ON result (prior_study_id) WHERE prior_study_id IS NOT NULL;
