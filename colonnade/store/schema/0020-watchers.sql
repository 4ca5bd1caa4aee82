-- Processes of the control plane watch each other: since when each has been seen without a gap, and
-- since when one is missed that did not say that it ends.
ALTER TABLE daemons DROP CONSTRAINT daemons_kind_check;
ALTER TABLE daemons ADD CONSTRAINT daemons_kind_check
    CHECK (kind IN ('controller', 'health', 'network'));
ALTER TABLE daemons ADD COLUMN since timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN missed_since timestamptz;

-- What keeps an amphora that is heard from serving as it should: as it tells itself, or as a
-- controller finds that pushes to it.
CREATE TABLE troubles (
    amphora_id uuid NOT NULL REFERENCES amphorae ON DELETE CASCADE,
    cause text NOT NULL,
    words text NOT NULL DEFAULT '',
    since timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (amphora_id, cause)
);
