-- depends: pipeline-0112.shadow pipeline-0113.commitment-asked

-- Whether the peer's archive has a study before it sends it (complete), gets it meanwhile (fills), or is watched (learned).
ALTER TABLE peer ADD COLUMN archive_habit text NOT NULL DEFAULT 'learned' CHECK (archive_habit IN ('learned', 'complete', 'fills'));

-- The series that the present revision may read, where it began while others still arrive; null = all that is here.
ALTER TABLE study ADD COLUMN started_with text[];
