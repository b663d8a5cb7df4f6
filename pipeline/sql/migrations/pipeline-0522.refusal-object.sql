-- depends: pipeline-0521.fallbacks pipeline-0530.ways-out

-- Whether a refused study leaves an object in the PACS that says so.
ALTER TABLE tenant ADD COLUMN refusal_object boolean NOT NULL DEFAULT false;
