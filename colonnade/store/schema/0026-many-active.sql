-- Clusters of several amphorae that all serve at once: how many is of the cluster, no longer of its topology.

-- `amphorae`: of ACTIVE_ACTIVE alone. `size`: how many serve a cluster, whatever its topology.
ALTER TABLE clusters ADD COLUMN amphorae smallint NOT NULL DEFAULT 2;
ALTER TABLE clusters ADD COLUMN size smallint NOT NULL GENERATED ALWAYS AS (
    CASE topology WHEN 'SINGLE' THEN 1 WHEN 'ACTIVE_STANDBY' THEN 2 ELSE amphorae END) STORED;
