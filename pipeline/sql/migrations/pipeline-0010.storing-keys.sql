-- depends: pipeline-0009.query

-- A key that is bound to a peer stores as that peer, by STOW-RS, and reads nothing; one without a peer reads, and stores
-- nothing.
ALTER TABLE api_key ADD COLUMN ae_title text;
ALTER TABLE api_key ADD FOREIGN KEY (tenant, ae_title) REFERENCES peer (tenant, ae_title);
