-- What each health receiver said of itself the last time that it wrote, by the address that amphorae
-- send to. Whoever judges silence sees here how many were listening, and for how long.
CREATE TABLE receivers (
    address text PRIMARY KEY, -- "address:port" on the LB network
    id uuid NOT NULL, -- a new one for each run of a process
    written_at timestamptz NOT NULL, -- all that it had heard until then is in `heartbeats`
    watching_since timestamptz NOT NULL, -- it listened and wrote without a gap
    heard_at timestamptz NOT NULL, -- the last time, from anyone
    listed_since timestamptz NOT NULL -- amphorae could learn of it
) WITH (fillfactor = 50);
