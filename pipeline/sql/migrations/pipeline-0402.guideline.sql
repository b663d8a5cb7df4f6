-- depends: pipeline-0401.progress

-- Which guideline the reports of a tenant apply, and why its examinations are made where that is the same for all.
ALTER TABLE tenant ADD COLUMN guideline text
    CHECK (guideline IN ('lung_rads_2022', 'c_lung_rads_2024', 'fleischner_2017', 'bts_2015'));
ALTER TABLE tenant ADD COLUMN guideline_setting text CHECK (guideline_setting IN ('screening', 'incidental'));
