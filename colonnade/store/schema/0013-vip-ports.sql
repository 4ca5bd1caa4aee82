-- A port that a user brought is the VIP of one load balancer: two would take it from each other.
-- Earlier releases took one twice; which of the two may keep it, only their owners know.
DO $$
DECLARE
    doubled text;
BEGIN
    SELECT string_agg(format('port %s of the load balancers %s', port, ids), '; ') INTO doubled
    FROM (
        SELECT body -> 'vip' ->> 'port_id' AS port, string_agg(id::text, ', ' ORDER BY id) AS ids
        FROM load_balancers WHERE NOT deleted AND body -> 'vip' ->> 'port_id' IS NOT NULL
        GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 10
    ) AS found;
    IF doubled IS NOT NULL THEN
        RAISE EXCEPTION 'load balancers have the same VIP port, which only one may have: %. '
            'Start the release that ran before, delete all but one of each, and start this one '
            'again', doubled;
    END IF;
END $$;
CREATE UNIQUE INDEX load_balancers_vip_port ON load_balancers ((body -> 'vip' ->> 'port_id'))
    WHERE NOT deleted;
