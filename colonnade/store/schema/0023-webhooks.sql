-- SPDX-License-Identifier: Apache-2.0
-- Where events are sent as they happen, how far each webhook has come, and what became of its
-- latest messages. The events themselves are the queue.
CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    project_id text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    url text NOT NULL,
    kinds text[] NOT NULL,
    object_types text[] NOT NULL,
    all_projects boolean NOT NULL,
    enabled boolean NOT NULL,
    ca_certificate text NOT NULL,
    secrets bytea NOT NULL, -- sealed for the id
    position bigint NOT NULL, -- the id of the last event that it was told of, or that is none for it
    ping text NOT NULL DEFAULT '', -- the id of a trial that is to be sent
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_failure text NOT NULL DEFAULT '', -- '': the latest message was taken
    failing_since timestamptz,
    retry_at timestamptz,
    disabled_reason text NOT NULL DEFAULT '', -- '': whoever disabled it was a person
    missed_at timestamptz, -- when events were last found to be forgotten before it was told of them
    deliveries jsonb NOT NULL DEFAULT '[]', -- the latest ones, the newest first
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
CREATE INDEX webhooks_project ON webhooks (project_id, created_at, id);

-- Up to which id events were forgotten: who is not as far has missed some. One row, once there are.
CREATE TABLE events_forgotten (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    up_to bigint NOT NULL
);

ALTER TABLE daemons DROP CONSTRAINT daemons_kind_check;
ALTER TABLE daemons ADD CONSTRAINT daemons_kind_check
    CHECK (kind IN ('controller', 'health', 'network', 'notifier'));
