-- depends: pipeline-0500.object-kinds

-- Destinations that are programs or people instead of a PACS: a FHIR server, an HL7 v2 receiver over MLLP, a webhook, mail.
-- What they are told is an object of kind FHIR, ORU or EVENT, with deliveries as every object has.
ALTER TABLE destination DROP CONSTRAINT destination_kind_check,
    ADD CONSTRAINT destination_kind_check CHECK (kind IN ('dimse', 'stow', 'fhir', 'hl7', 'webhook', 'email')),
    -- of what it wants to hear
    ADD COLUMN events text[] NOT NULL DEFAULT ARRAY['result', 'reviewed', 'superseded', 'critical', 'refused', 'failed']
        CHECK (events <@ ARRAY['result', 'reviewed', 'superseded', 'critical', 'refused', 'failed']),
    -- hosts of its url that may lie on a private network; any other must have public addresses
    ADD COLUMN private_hosts text[] NOT NULL DEFAULT '{}',
    ADD COLUMN with_accession boolean NOT NULL DEFAULT false, -- webhook and mail: also the accession number
    ADD COLUMN with_pdf boolean NOT NULL DEFAULT false,       -- FHIR and HL7: the report itself, not only its address
    ADD COLUMN patient_system text CHECK (length(patient_system) BETWEEN 1 AND 200),     -- identifier.system of FHIR,
    ADD COLUMN accession_system text CHECK (length(accession_system) BETWEEN 1 AND 200), -- assigning authority of HL7
    ADD COLUMN receiving_application text CHECK (length(receiving_application) BETWEEN 1 AND 180), -- MSH-5
    ADD COLUMN receiving_facility text CHECK (length(receiving_facility) BETWEEN 1 AND 180),       -- MSH-6
    ADD COLUMN character_set text NOT NULL DEFAULT 'UNICODE UTF-8'
        CHECK (character_set IN ('UNICODE UTF-8', 'GB 18030-2000')),                               -- MSH-18
    ADD COLUMN recipients text[] NOT NULL DEFAULT '{}' CHECK (cardinality(recipients) <= 20),
    ADD CHECK (kind NOT IN ('fhir', 'webhook') OR url ~ '^https?://'),
    ADD CHECK (kind NOT IN ('fhir', 'webhook') OR allow_plain_http OR url LIKE 'https://%'),
    ADD CHECK (kind <> 'hl7' OR (host IS NOT NULL AND port IS NOT NULL)),
    ADD CHECK (kind <> 'email' OR cardinality(recipients) > 0),
    ADD CHECK (kind IN ('dimse', 'stow') OR confirmation = 'none');

-- What a message tells of; a result of every object of a PACS.
ALTER TABLE result_object ADD COLUMN event text NOT NULL DEFAULT 'result'
    CHECK (event IN ('result', 'reviewed', 'superseded', 'critical', 'refused', 'failed'));
