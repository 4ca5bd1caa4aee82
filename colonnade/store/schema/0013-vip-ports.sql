-- A port that a user brought is the VIP of one load balancer: two would take it from each other.
CREATE UNIQUE INDEX load_balancers_vip_port ON load_balancers ((body -> 'vip' ->> 'port_id'))
    WHERE NOT deleted;
