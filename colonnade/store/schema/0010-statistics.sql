-- SPDX-License-Identifier: Apache-2.0
-- What each amphora counted of each listener and member, and listeners over the last day.

-- Absolute counters; rows of amphorae that are gone stay, so that sums never go back. The columns
-- with a default are of now.
CREATE TABLE listener_traffic (
    listener_id uuid NOT NULL REFERENCES listeners ON DELETE CASCADE,
    amphora_id uuid NOT NULL,
    active_connections bigint NOT NULL DEFAULT 0,
    total_connections bigint NOT NULL,
    bytes_in bigint NOT NULL,
    bytes_out bigint NOT NULL,
    requests bigint NOT NULL,
    request_errors bigint NOT NULL,
    denied_requests bigint NOT NULL,
    responses_2xx bigint NOT NULL,
    responses_3xx bigint NOT NULL,
    responses_4xx bigint NOT NULL,
    responses_5xx bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (listener_id, amphora_id)
) WITH (fillfactor = 50);

CREATE TABLE member_traffic (
    member_id uuid NOT NULL REFERENCES members ON DELETE CASCADE,
    amphora_id uuid NOT NULL,
    active_connections bigint NOT NULL DEFAULT 0,
    queued bigint NOT NULL DEFAULT 0,
    response_ms bigint NOT NULL DEFAULT 0,
    total_connections bigint NOT NULL,
    bytes_in bigint NOT NULL,
    bytes_out bigint NOT NULL,
    requests bigint NOT NULL,
    connection_errors bigint NOT NULL,
    response_errors bigint NOT NULL,
    responses_2xx bigint NOT NULL,
    responses_3xx bigint NOT NULL,
    responses_4xx bigint NOT NULL,
    responses_5xx bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (member_id, amphora_id)
) WITH (fillfactor = 50);

-- A ring for each listener: the sums at every tenth second, 8640 of them. A day later a slot is
-- written anew, so there is nothing to delete and a listener never has more rows.
CREATE TABLE listener_series (
    listener_id uuid NOT NULL REFERENCES listeners ON DELETE CASCADE,
    slot smallint NOT NULL CHECK (slot BETWEEN 0 AND 8639),
    at timestamptz NOT NULL,
    active_connections bigint NOT NULL,
    total_connections bigint NOT NULL,
    bytes_in bigint NOT NULL,
    bytes_out bigint NOT NULL,
    requests bigint NOT NULL,
    request_errors bigint NOT NULL,
    denied_requests bigint NOT NULL,
    responses_2xx bigint NOT NULL,
    responses_3xx bigint NOT NULL,
    responses_4xx bigint NOT NULL,
    responses_5xx bigint NOT NULL,
    PRIMARY KEY (listener_id, slot)
);
