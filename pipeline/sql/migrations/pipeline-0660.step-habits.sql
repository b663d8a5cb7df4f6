-- depends: pipeline-0651.node
-- phase: expand

-- What a sender's MPPS was worth as a list of the study: whether something came that it does not list, and how many listed
-- series never began. Null where no MPPS had ended.
ALTER TABLE longest_pause ADD COLUMN steps_listed_less boolean;
ALTER TABLE longest_pause ADD COLUMN series_not_sent integer CHECK (series_not_sent >= 0);
