-- The wishes (trees), the facts (fleet) and the work between them.
--
-- A row of a tree keeps its own attributes as one JSON document, in the shape of its value in
-- `domain/tree.py` without children; columns are what queries and constraints need. `created` and
-- `changed` are generations of the cluster. A deleted row stays, hidden from the wish, until its
-- deletion has been applied; then it is purged.

CREATE TABLE clusters (
    id uuid PRIMARY KEY,
    provider text NOT NULL,
    flavor text NOT NULL DEFAULT 'default',
    topology text NOT NULL DEFAULT 'SINGLE',
    generation bigint NOT NULL DEFAULT 0,
    applied_lowest bigint NOT NULL DEFAULT 0,
    highest_settled bigint NOT NULL DEFAULT 0,
    failed_at bigint,
    last_error jsonb, -- {code, message, at, retry_at}: safe to show to users
    deleted boolean NOT NULL DEFAULT false
);

CREATE TABLE load_balancers (
    id uuid PRIMARY KEY,
    cluster_id uuid NOT NULL REFERENCES clusters,
    project_id text NOT NULL,
    body jsonb NOT NULL,
    issues jsonb NOT NULL DEFAULT '[]', -- [{path, reason}]: what the tree lacks to be served
    created bigint NOT NULL,
    changed bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz,
    operating_status text NOT NULL DEFAULT 'OFFLINE'
);
CREATE INDEX load_balancers_project ON load_balancers (project_id, created_at, id);
CREATE INDEX load_balancers_cluster ON load_balancers (cluster_id);
CREATE INDEX load_balancers_name ON load_balancers ((body ->> 'name'));

CREATE TABLE listeners (
    id uuid PRIMARY KEY,
    load_balancer_id uuid NOT NULL REFERENCES load_balancers ON DELETE CASCADE,
    project_id text NOT NULL,
    body jsonb NOT NULL,
    created bigint NOT NULL,
    changed bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz,
    operating_status text NOT NULL DEFAULT 'OFFLINE'
);
CREATE INDEX listeners_load_balancer ON listeners (load_balancer_id);
CREATE INDEX listeners_project ON listeners (project_id, created_at, id);

CREATE TABLE pools (
    id uuid PRIMARY KEY,
    load_balancer_id uuid NOT NULL REFERENCES load_balancers ON DELETE CASCADE,
    project_id text NOT NULL,
    body jsonb NOT NULL,
    created bigint NOT NULL,
    changed bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz,
    operating_status text NOT NULL DEFAULT 'OFFLINE'
);
CREATE INDEX pools_load_balancer ON pools (load_balancer_id);
CREATE INDEX pools_project ON pools (project_id, created_at, id);

CREATE TABLE members (
    id uuid PRIMARY KEY,
    pool_id uuid NOT NULL REFERENCES pools ON DELETE CASCADE,
    load_balancer_id uuid NOT NULL REFERENCES load_balancers ON DELETE CASCADE,
    project_id text NOT NULL,
    body jsonb NOT NULL,
    created bigint NOT NULL,
    changed bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz,
    operating_status text NOT NULL DEFAULT 'OFFLINE'
);
CREATE INDEX members_pool ON members (pool_id, created_at, id);
CREATE INDEX members_load_balancer ON members (load_balancer_id);

CREATE TABLE health_monitors (
    id uuid PRIMARY KEY,
    pool_id uuid NOT NULL REFERENCES pools ON DELETE CASCADE,
    load_balancer_id uuid NOT NULL REFERENCES load_balancers ON DELETE CASCADE,
    project_id text NOT NULL,
    body jsonb NOT NULL,
    created bigint NOT NULL,
    changed bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz,
    operating_status text NOT NULL DEFAULT 'OFFLINE'
);
CREATE INDEX health_monitors_pool ON health_monitors (pool_id);
CREATE INDEX health_monitors_load_balancer ON health_monitors (load_balancer_id);
CREATE INDEX health_monitors_project ON health_monitors (project_id, created_at, id);

CREATE TABLE amphorae (
    id uuid PRIMARY KEY,
    state text NOT NULL
        CHECK (state IN ('BOOTING', 'SPARE', 'SERVING', 'FAILED', 'RETIRING', 'GONE')),
    flavor text NOT NULL DEFAULT 'default',
    cluster_id uuid REFERENCES clusters ON DELETE SET NULL,
    lb_network_ip text,
    lb_port_id uuid,
    applied bigint NOT NULL DEFAULT 0,
    applied_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_key bytea NOT NULL, -- sealed with the master key
    cert_expiration timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    state_since timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'SERVING') <= (cluster_id IS NOT NULL))
);
CREATE INDEX amphorae_cluster ON amphorae (cluster_id);
CREATE INDEX amphorae_state ON amphorae (state);

-- Written in batches, apart from `amphorae`, so that a heartbeat never touches that row.
CREATE TABLE heartbeats (
    amphora_id uuid PRIMARY KEY REFERENCES amphorae ON DELETE CASCADE,
    seen_at timestamptz NOT NULL,
    sequence bigint NOT NULL,
    generation bigint NOT NULL,
    load real NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Absolute counters; rows of amphorae that are gone stay, so that sums never go back.
CREATE TABLE statistics (
    listener_id uuid NOT NULL REFERENCES listeners ON DELETE CASCADE,
    amphora_id uuid NOT NULL,
    active_connections bigint NOT NULL,
    bytes_in bigint NOT NULL,
    bytes_out bigint NOT NULL,
    request_errors bigint NOT NULL,
    total_connections bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (listener_id, amphora_id)
);

-- A set of dirty keys, not a list of jobs. `dirty` rises with each mark, so that whoever worked
-- on a key can tell whether it was marked again meanwhile.
CREATE TABLE work (
    key text PRIMARY KEY,
    dirty bigint NOT NULL DEFAULT 1,
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    leased_by uuid,
    leased_until timestamptz
);
CREATE INDEX work_due ON work (due_at);

CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    project_id text,
    load_balancer_id uuid,
    object_kind text NOT NULL,
    object_id uuid NOT NULL,
    kind text NOT NULL,
    message text NOT NULL,
    generation bigint
);
CREATE INDEX events_load_balancer ON events (load_balancer_id, id);

-- The running processes of the control plane that amphorae must be able to find.
CREATE TABLE daemons (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('controller', 'health')),
    address text NOT NULL, -- "address:port" on the LB network
    seen_at timestamptz NOT NULL DEFAULT now()
);
