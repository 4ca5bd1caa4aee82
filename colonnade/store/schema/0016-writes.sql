-- What each generation was written onto: the version of its load balancer's row, as the process that
-- wrote it had it before. Who remembers that very version has nothing but the change to learn.
-- Empty: of a release that did not say so, of a new load balancer, and of what is no change of a
-- tree alone.
ALTER TABLE generations ADD COLUMN onto text NOT NULL DEFAULT '';

-- A row's parent leads to its load balancer, and goes with it: the second reference costs a look for
-- each row that is written, and says nothing more.
ALTER TABLE members DROP CONSTRAINT members_load_balancer_id_fkey;
ALTER TABLE health_monitors DROP CONSTRAINT health_monitors_load_balancer_id_fkey;
ALTER TABLE l7policies DROP CONSTRAINT l7policies_load_balancer_id_fkey;
ALTER TABLE l7rules DROP CONSTRAINT l7rules_load_balancer_id_fkey;
