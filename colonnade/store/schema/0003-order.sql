-- Lists are in this order for whoever sees all projects too.
CREATE INDEX load_balancers_order ON load_balancers (created_at, id);
