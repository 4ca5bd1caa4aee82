-- SPDX-License-Identifier: Apache-2.0
-- How far the message bus was told of load balancers, once one is configured: one row.
CREATE TABLE notifications (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL, -- the id of the last event that was told, or that is none for the bus
    missed_at timestamptz -- when events were last found to be forgotten before they were told
);

-- What the bus was told of each load balancer last. It outlives the load balancer's own row, so
-- that its end can be told in full.
CREATE TABLE notified (
    load_balancer_id uuid PRIMARY KEY,
    body jsonb NOT NULL
);
