-- depends: billing-0040.periods
-- What a hospital counted itself, compared with what was billed.

-- One comparison. since, until: local days of the books, both inclusive. Differences are its lines.
CREATE TABLE billing.reconciliation (
    reconciliation_id  bigint GENERATED ALWAYS AS IDENTITY,
    tenant             text NOT NULL CHECK (tenant <> ''),
    since              date NOT NULL,
    until              date NOT NULL CHECK (until >= since),
    style              text NOT NULL CHECK (style IN ('csv', 'hl7', 'fhir')),
    file_sha256        text NOT NULL,
    matched_by         text NOT NULL CHECK (matched_by IN ('case', 'request')),
    matched_count      integer NOT NULL CHECK (matched_count >= 0),
    ignored_count      integer NOT NULL CHECK (ignored_count >= 0),
    difference_count   integer NOT NULL CHECK (difference_count >= 0),
    made_by            text NOT NULL CHECK (made_by <> ''),
    made_at            timestamptz NOT NULL,
    PRIMARY KEY (tenant, reconciliation_id)
);

-- their_row: row of the file, message of HL7 or entry of the bundle. why: the reason for which we did not charge.
CREATE TABLE billing.reconciliation_line (
    tenant             text NOT NULL,
    reconciliation_id  bigint NOT NULL,
    line_number        integer NOT NULL CHECK (line_number >= 1),
    verdict            text NOT NULL CHECK (verdict IN ('not_in_their_list', 'not_billed', 'quantity_differs')),
    token              text NOT NULL,
    product            text NOT NULL,
    our_day            date,
    their_day          date,
    our_quantity       numeric NOT NULL,
    their_quantity     numeric NOT NULL,
    their_row          integer,
    why                text NOT NULL,
    PRIMARY KEY (tenant, reconciliation_id, line_number),
    CHECK (our_quantity <> their_quantity),
    FOREIGN KEY (tenant, reconciliation_id) REFERENCES billing.reconciliation (tenant, reconciliation_id)
);

CALL billing.protect('reconciliation', true);
CALL billing.protect('reconciliation_line', true);
