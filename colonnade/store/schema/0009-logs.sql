-- Targets of access logs, and what amphorae say of the logs that they ship.
--
-- A load balancer or listener refers to a target of its own project, so that none can go while it
-- is used, whoever asks first. Credentials are sealed for the target's id.

CREATE TABLE log_targets (
    id uuid PRIMARY KEY,
    project_id text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    type text NOT NULL,
    url text NOT NULL,
    bucket text NOT NULL,
    prefix text NOT NULL,
    region text NOT NULL,
    ca_certificate text NOT NULL,
    credentials bytea, -- NULL: there are none
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz,
    UNIQUE (project_id, id)
);
CREATE INDEX log_targets_project ON log_targets (project_id, created_at, id);

ALTER TABLE load_balancers
    ADD COLUMN log_target_id uuid GENERATED ALWAYS AS (
        CASE WHEN NOT deleted THEN (body -> 'access_log' ->> 'target_id')::uuid END) STORED,
    ADD CONSTRAINT load_balancers_log_target
        FOREIGN KEY (project_id, log_target_id) REFERENCES log_targets (project_id, id);
ALTER TABLE listeners
    ADD COLUMN log_target_id uuid GENERATED ALWAYS AS (
        CASE WHEN NOT deleted THEN (body -> 'access_log' ->> 'target_id')::uuid END) STORED,
    ADD CONSTRAINT listeners_log_target
        FOREIGN KEY (project_id, log_target_id) REFERENCES log_targets (project_id, id);
CREATE INDEX load_balancers_log_target ON load_balancers (log_target_id)
    WHERE log_target_id IS NOT NULL;
CREATE INDEX listeners_log_target ON listeners (log_target_id) WHERE log_target_id IS NOT NULL;

-- Lines since an amphora began, so that a lost report loses nothing.
CREATE TABLE log_counts (
    listener_id uuid NOT NULL REFERENCES listeners ON DELETE CASCADE,
    amphora_id uuid NOT NULL,
    sent bigint NOT NULL,
    dropped bigint NOT NULL,
    failure text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (listener_id, amphora_id)
);
