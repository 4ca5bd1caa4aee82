-- SPDX-License-Identifier: Apache-2.0
-- Our copies of what users keep in a cloud's key manager: what is served needs nobody else. They are
-- secrets with a source; a project has one of each that it uses.
ALTER TABLE secrets
    ADD COLUMN source text NOT NULL DEFAULT '', -- "containers/<id>", "secrets/<id>"; '': our own
    ADD COLUMN source_reason text NOT NULL DEFAULT '', -- why it cannot be read there any more
    -- Who was, or may have been, registered there as using it: written before that is done.
    ADD COLUMN consumers text[] NOT NULL DEFAULT '{}',
    -- When a request last asked for it: until a while later it stays, though nothing uses it yet.
    ADD COLUMN asked_at timestamptz;
CREATE INDEX secrets_source ON secrets (id) WHERE source <> '';
