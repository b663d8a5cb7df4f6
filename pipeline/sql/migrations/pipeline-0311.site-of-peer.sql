-- depends: pipeline-0310.money-roles

-- Where a peer stands, in the words of the contracts: what it sends is billed, limited and shown under them.
ALTER TABLE peer ADD COLUMN site text NOT NULL DEFAULT '' CHECK (length(site) <= 64);
ALTER TABLE peer ADD COLUMN department text NOT NULL DEFAULT '' CHECK (length(department) <= 64);
