-- SPDX-License-Identifier: Apache-2.0
-- Certificates that the system itself gets from an issuer (ACME, RFC 8555) and renews: secrets with
-- host names. Until the first one is issued, a self-signed one stands in for it.
ALTER TABLE secrets
    ADD COLUMN host_names text[] NOT NULL DEFAULT '{}', -- '{}': somebody uploaded it
    ADD COLUMN stand_in boolean NOT NULL DEFAULT false,
    -- Written before each attempt, so that one which ends a process counts too; 0: the last one did.
    ADD COLUMN order_attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN ordered_at timestamptz, -- the last attempt
    ADD COLUMN next_order_at timestamptz,
    ADD COLUMN order_reason text NOT NULL DEFAULT ''; -- what it waits for, or what failed

-- Who we are to the issuer. One row, once a certificate was asked for.
CREATE TABLE issuer_accounts (
    id uuid PRIMARY KEY,
    one boolean NOT NULL UNIQUE DEFAULT true CHECK (one),
    key bytea NOT NULL, -- sealed for the id
    thumbprint text NOT NULL, -- of the key (RFC 7638): with it anybody's questions are answered
    directory text NOT NULL DEFAULT '', -- where it is registered
    uri text NOT NULL DEFAULT '' -- as what
);
