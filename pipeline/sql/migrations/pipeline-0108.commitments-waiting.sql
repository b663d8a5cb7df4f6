-- depends: pipeline-0008.services

-- Each request counts what still waits for its peer.
CREATE INDEX storage_commitment_waiting ON storage_commitment (tenant, ae_title) WHERE reported_at IS NULL;
