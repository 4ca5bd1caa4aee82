-- What each generation was written onto: the version of its load balancer's row, as the process that
-- wrote it had it before. Who remembers that very version has nothing but the change to learn.
-- Empty: of a release that did not say so, of a new load balancer, and of what is no change of a
-- tree alone.
ALTER TABLE generations ADD COLUMN onto text NOT NULL DEFAULT '';
