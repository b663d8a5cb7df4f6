-- depends: pipeline-0690.room
-- phase: expand

-- The longest pause of a study after an association that broke off: when the sender comes back says nothing of how it pauses
-- when it released. Null where none broke off, and of studies that older code completed.
ALTER TABLE longest_pause ADD COLUMN broken_pause_s double precision CHECK (broken_pause_s >= 0);
CREATE INDEX association_broken ON association (tenant, ae_title, closed_at) WHERE how IN ('aborted', 'lost');

-- Senders pause up to two minutes between two series: the quiet time may become somewhat longer than that.
ALTER TABLE peer ALTER COLUMN quiet_time_max_s SET DEFAULT 130;
