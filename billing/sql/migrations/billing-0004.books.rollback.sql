ALTER TABLE billing.journal_entry DROP CONSTRAINT journal_entry_template_check;
ALTER TABLE billing.journal_entry ADD CONSTRAINT journal_entry_template_check CHECK (template IN ('statement_issued'));
