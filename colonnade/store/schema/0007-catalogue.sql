-- Quotas, flavors and availability zones, as operators keep them.
--
-- NULL in a quota means the configured default. A load balancer's flavor and zone are references,
-- so that neither can go while a load balancer has it, whoever asks first.

CREATE TABLE quotas (
    project_id text PRIMARY KEY,
    loadbalancer bigint,
    listener bigint,
    pool bigint,
    member bigint,
    healthmonitor bigint,
    l7policy bigint,
    l7rule bigint,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX members_project ON members (project_id, created_at, id);
CREATE INDEX l7rules_project ON l7rules (project_id, created_at, id);

CREATE TABLE flavor_profiles (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    provider_name text NOT NULL,
    flavor_data text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE flavors (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    description text NOT NULL,
    enabled boolean NOT NULL,
    flavor_profile_id uuid NOT NULL REFERENCES flavor_profiles,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX flavors_profile ON flavors (flavor_profile_id);

CREATE TABLE availability_zone_profiles (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    provider_name text NOT NULL,
    availability_zone_data text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE availability_zones (
    name text PRIMARY KEY,
    description text NOT NULL,
    enabled boolean NOT NULL,
    availability_zone_profile_id uuid NOT NULL REFERENCES availability_zone_profiles,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX availability_zones_profile ON availability_zones (availability_zone_profile_id);

ALTER TABLE load_balancers
    ADD COLUMN flavor_id uuid
        GENERATED ALWAYS AS ((body ->> 'flavor_id')::uuid) STORED REFERENCES flavors,
    ADD COLUMN availability_zone text
        GENERATED ALWAYS AS (body ->> 'availability_zone') STORED REFERENCES availability_zones;
CREATE INDEX load_balancers_flavor ON load_balancers (flavor_id) WHERE flavor_id IS NOT NULL;
CREATE INDEX load_balancers_zone ON load_balancers (availability_zone)
    WHERE availability_zone IS NOT NULL;
