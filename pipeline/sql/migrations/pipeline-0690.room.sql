-- depends: pipeline-0651.node
-- phase: expand

-- The revision that the limits of the contract let run: it has its room from then on, before it is decoded.
-- Older code never sets it: what it lets run counts from `decoded` on, as before.
ALTER TABLE study ADD COLUMN room_revision integer;
