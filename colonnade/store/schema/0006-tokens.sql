-- Tokens of our own, for the identity mode `token`.
--
-- The secret itself is nowhere: whoever reads this table cannot call the API with it. A revoked
-- token's row is gone.

CREATE TABLE tokens (
    id uuid PRIMARY KEY,
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of the secret
    project_id text NOT NULL,
    roles text[] NOT NULL,
    name text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
