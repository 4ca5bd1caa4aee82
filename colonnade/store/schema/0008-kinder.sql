-- What makes the API kinder: repeated requests, the way back, events in order, affinity groups.

-- The answer to a repeated POST: the object that the first one made.
CREATE TABLE idempotency_keys (
    project_id text NOT NULL, -- of the caller; empty for one of no project
    key text NOT NULL,
    digest bytea NOT NULL, -- SHA-256 of method, path and body
    kind text NOT NULL, -- of a tree's object; empty for another, whose answer is kept instead
    object_id uuid,
    answer bytea, -- NULL: being worked on, or the process that worked on it has died
    status integer,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, key)
);
CREATE INDEX idempotency_keys_at ON idempotency_keys (at);

-- What each generation changed, and so how to go back: attributes before and after.
CREATE TABLE generations (
    load_balancer_id uuid NOT NULL REFERENCES load_balancers ON DELETE CASCADE,
    generation bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    project_id text NOT NULL, -- of who asked for it; empty for one of no project
    user_name text NOT NULL,
    verb text NOT NULL,
    what text NOT NULL,
    changes jsonb NOT NULL, -- [{kind, id, action, parent_id, before, after}]
    PRIMARY KEY (load_balancer_id, generation)
);
CREATE INDEX generations_at ON generations (at);

-- Ids are given out before a transaction commits. Who reads on from an id must not pass by one
-- that is yet to come, and so reads only what is older than every transaction that is under way.
ALTER TABLE events ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX events_project ON events (project_id, id);

CREATE TABLE affinity_groups (
    id uuid PRIMARY KEY,
    project_id text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    policy text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz,
    UNIQUE (id, project_id)
);
CREATE INDEX affinity_groups_project ON affinity_groups (project_id, created_at, id);
ALTER TABLE load_balancers
    ADD COLUMN affinity_group_id uuid
        GENERATED ALWAYS AS ((body ->> 'affinity_group_id')::uuid) STORED,
    -- Nobody uses another project's group, and none goes while it is used.
    ADD CONSTRAINT load_balancers_affinity_group
        FOREIGN KEY (affinity_group_id, project_id) REFERENCES affinity_groups (id, project_id);
CREATE INDEX load_balancers_of_affinity_group ON load_balancers (affinity_group_id)
    WHERE affinity_group_id IS NOT NULL;
