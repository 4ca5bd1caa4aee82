-- What an operator is shown as the amphora of a cluster that nothing serves: a record, and no more.
ALTER TABLE clusters ADD COLUMN noop_amphora_id uuid UNIQUE,
    ADD COLUMN noop_amphora_since timestamptz NOT NULL DEFAULT now();
UPDATE clusters SET noop_amphora_id = gen_random_uuid() WHERE provider = 'noop' AND NOT deleted;
