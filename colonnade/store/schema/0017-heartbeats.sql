-- Heartbeats are worth a few seconds, so they are not kept over a crash of the server: written once a
-- second for each amphora, they would be most of the log. Since when they are remembered is a row
-- that a crash takes along with them: silence from before it counts for nobody.
ALTER TABLE heartbeats SET UNLOGGED;
ALTER TABLE heartbeats ADD COLUMN receivers smallint NOT NULL DEFAULT 0; -- spoken to in turn; 0: not said

CREATE UNLOGGED TABLE heartbeats_remembered (
    is_this boolean PRIMARY KEY DEFAULT true CHECK (is_this),
    since timestamptz NOT NULL DEFAULT now()
);
