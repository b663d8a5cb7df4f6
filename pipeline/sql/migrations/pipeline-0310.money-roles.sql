-- depends: pipeline-0211.when-complete billing-0001.usage

-- Who looks at money: finance, who approves, who audits; and two from outside, each bound to its own party.
ALTER TABLE portal_user ADD COLUMN party_id text;
ALTER TABLE portal_user DROP CONSTRAINT portal_user_role_check;
ALTER TABLE portal_user ADD CONSTRAINT portal_user_role_check CHECK (
    role IN ('admin', 'approver', 'auditor', 'clinician', 'finance', 'hospital', 'operator', 'vendor')
);
ALTER TABLE portal_user ADD CONSTRAINT portal_user_of_a_party FOREIGN KEY (tenant, party_id)
    REFERENCES billing.party (tenant, party_id);
-- Who comes from outside sees what belongs to a party, and so has one.
ALTER TABLE portal_user ADD CONSTRAINT outsiders_have_a_party CHECK (
    role NOT IN ('hospital', 'vendor') OR party_id IS NOT NULL
);
