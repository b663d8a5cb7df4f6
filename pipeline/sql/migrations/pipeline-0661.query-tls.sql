-- depends: pipeline-0660.step-habits
-- phase: expand

-- How the archive of a peer is asked over TLS: always by a web address of https, by C-FIND where query_tls says so. The files
-- lie in the folder of secrets, as those of destinations. Without authorities the machine's are trusted.
ALTER TABLE peer
    ADD COLUMN query_tls              boolean NOT NULL DEFAULT false,
    ADD COLUMN query_authority_file   text CHECK (length(query_authority_file) BETWEEN 1 AND 100),
    ADD COLUMN query_certificate_file text CHECK (length(query_certificate_file) BETWEEN 1 AND 100);
