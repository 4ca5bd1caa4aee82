-- L7 policies belong to a listener, rules to a policy; both are rows of a tree like the others.

CREATE TABLE l7policies (
    id uuid PRIMARY KEY,
    listener_id uuid NOT NULL REFERENCES listeners ON DELETE CASCADE,
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
CREATE INDEX l7policies_listener ON l7policies (listener_id);
CREATE INDEX l7policies_load_balancer ON l7policies (load_balancer_id);
CREATE INDEX l7policies_project ON l7policies (project_id, created_at, id);

CREATE TABLE l7rules (
    id uuid PRIMARY KEY,
    l7policy_id uuid NOT NULL REFERENCES l7policies ON DELETE CASCADE,
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
CREATE INDEX l7rules_policy ON l7rules (l7policy_id, created_at, id);
CREATE INDEX l7rules_load_balancer ON l7rules (load_balancer_id);
