-- Certificates with their keys, CAs and CRLs, for use without a key service.
--
-- `wrapped_key` is the secret's own key under the master key, `sealed` the PEM under that key:
-- who reads this table without the master key learns what a client of the listener could see.
-- A secret's type and project never change.

CREATE TABLE secrets (
    id uuid PRIMARY KEY,
    project_id text NOT NULL,
    name text NOT NULL DEFAULT '',
    type text NOT NULL CHECK (type IN ('CERTIFICATE', 'CA', 'CRL')),
    subject text NOT NULL DEFAULT '',
    issuer text NOT NULL DEFAULT '',
    subject_alt_names text[] NOT NULL DEFAULT '{}',
    serial_number text NOT NULL DEFAULT '',
    fingerprint text NOT NULL,
    key_type text NOT NULL DEFAULT '',
    count integer NOT NULL,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    public text NOT NULL, -- PEM without any key
    wrapped_key bytea NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
CREATE INDEX secrets_project ON secrets (project_id, created_at, id);
CREATE INDEX secrets_not_after ON secrets (not_after);
