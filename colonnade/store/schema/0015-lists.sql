-- Who sees all projects gets each list in its order from an index too, not by a sort of everything.
CREATE INDEX listeners_order ON listeners (created_at, id);
CREATE INDEX pools_order ON pools (created_at, id);
CREATE INDEX health_monitors_order ON health_monitors (created_at, id);
CREATE INDEX l7policies_order ON l7policies (created_at, id);
-- Each load balancer of a list shows the ids of these: they come in order, and need no sort.
CREATE INDEX listeners_of_load_balancer ON listeners (load_balancer_id, created_at, id);
CREATE INDEX pools_of_load_balancer ON pools (load_balancer_id, created_at, id);
DROP INDEX listeners_load_balancer;
DROP INDEX pools_load_balancer;
