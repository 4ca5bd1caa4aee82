-- Processes of the control plane watch each other: since when each has been seen without a gap, and
-- since when one is missed that did not say that it ends.
ALTER TABLE daemons DROP CONSTRAINT daemons_kind_check;
ALTER TABLE daemons ADD CONSTRAINT daemons_kind_check
    CHECK (kind IN ('controller', 'health', 'network'));
ALTER TABLE daemons ADD COLUMN since timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN missed_since timestamptz;
