-- Two amphorae that serve together, of which one holds the VIPs at a time.

ALTER TABLE clusters ADD COLUMN advert_ms int NOT NULL DEFAULT 100;

-- `role`: as the amphora says itself; '' before it has. `peer_id`: the other half, as this one was
-- last told; an amphora that is gone may still be named, so that the one left is told anew.
ALTER TABLE amphorae
    ADD COLUMN role text NOT NULL DEFAULT '',
    ADD COLUMN role_since timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN peer_id uuid,
    ADD COLUMN vrrp_priority smallint,
    ADD COLUMN vrrp_ip text,
    ADD COLUMN vrrp_port_id uuid;
