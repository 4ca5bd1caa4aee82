-- What the system replaced by itself, and whether it holds itself back: facts for safe mode.
CREATE TABLE failovers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    amphora_id uuid NOT NULL,
    cluster_id uuid,
    host text NOT NULL,
    serving boolean NOT NULL, -- false: a spare, or one that never answered for a generation
    certain boolean NOT NULL, -- silent, and compute says that it does not run
    cause text NOT NULL
);
CREATE INDEX failovers_at ON failovers (at);

-- One row, made by the first who needs it. Whoever judges holds its lock.
CREATE TABLE safe_mode (
    is_this boolean PRIMARY KEY DEFAULT true CHECK (is_this),
    since timestamptz, -- NULL: off
    reason text NOT NULL DEFAULT '',
    held integer NOT NULL DEFAULT 0, -- amphorae that were not replaced, at the last look
    calm_since timestamptz, -- with nobody silent, without a gap
    looked_at timestamptz NOT NULL DEFAULT now(),
    lifted_until timestamptz -- a person said that it shall not begin before
);

-- Where compute says that it runs.
ALTER TABLE amphorae ADD COLUMN host text NOT NULL DEFAULT '';
