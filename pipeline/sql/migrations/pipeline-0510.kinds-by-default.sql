-- depends: pipeline-0500.object-kinds

-- SC and GSPS stood in the default before anything made them. A destination that took the default is not to be sent
-- them all at once now that they are made; one that chose kinds has chosen.
ALTER TABLE destination NO FORCE ROW LEVEL SECURITY;
UPDATE destination SET object_kinds = ARRAY['SR', 'SEG', 'PDF', 'KOS']
    WHERE object_kinds @> ARRAY['SR', 'SEG', 'PDF', 'SC', 'KOS', 'GSPS'];
ALTER TABLE destination FORCE ROW LEVEL SECURITY;
ALTER TABLE destination ALTER COLUMN object_kinds SET DEFAULT ARRAY['SR', 'SEG', 'PDF', 'KOS'];
