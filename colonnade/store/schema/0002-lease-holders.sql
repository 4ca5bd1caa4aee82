-- Who works on a key: the place where a controller listens, which only one process can have. Who
-- comes to that place next knows that these leases are a dead one's.

ALTER TABLE work ADD COLUMN holder text NOT NULL DEFAULT '';
