-- depends: pipeline-0661.query-tls
-- phase: expand

-- Which process lives it, by its name in the register of nodes: when that one is gone without a word, the association has
-- ended too. Null from a command, and from older code.
ALTER TABLE association ADD COLUMN node text;
CREATE INDEX association_open ON association (tenant) WHERE closed_at IS NULL;
