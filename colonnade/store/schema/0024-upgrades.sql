-- SPDX-License-Identifier: Apache-2.0
-- What an amphora is made of, so that it can be told which are outdated, and why; and the replacing
-- of many, one after the other, as rows: any controller goes on with it.
ALTER TABLE amphorae
    ADD COLUMN agent_version text, -- as it told last, '' when it tells none; NULL: it has not asked
    ADD COLUMN born_by text NOT NULL DEFAULT '', -- the release that booted it; '': before that was noted
    ADD COLUMN image_tag text, -- as its flavor said then
    ADD COLUMN engine text NOT NULL DEFAULT '', -- the same; '': not known
    ADD COLUMN outdated text NOT NULL DEFAULT '', -- why it is, for people; '': it is not
    ADD COLUMN outdated_since timestamptz; -- NULL: it is not, or one made now would be the same

CREATE TABLE upgrades (
    id uuid PRIMARY KEY,
    state text NOT NULL CHECK (state IN
        ('RUNNING', 'PAUSED', 'STOPPED', 'DONE', 'CANCELLED')),
    is_automatic boolean NOT NULL, -- begun by a controller, not by a person
    undoes uuid, -- the one whose amphorae this one replaces
    pace jsonb NOT NULL,
    words text NOT NULL DEFAULT '', -- why it is in this state, or waits
    created_at timestamptz NOT NULL DEFAULT now(),
    state_since timestamptz NOT NULL DEFAULT now()
);
-- One at a time: what goes on, and what a person may let go on.
CREATE UNIQUE INDEX upgrades_open ON upgrades ((true)) WHERE state IN ('RUNNING', 'PAUSED', 'STOPPED');
CREATE INDEX upgrades_created ON upgrades (created_at);

CREATE TABLE upgrade_steps (
    upgrade_id uuid NOT NULL REFERENCES upgrades ON DELETE CASCADE,
    number integer NOT NULL, -- the first is the canary
    amphora_id uuid NOT NULL, -- that is to be replaced
    cluster_id uuid NOT NULL,
    flavor text NOT NULL,
    why text NOT NULL DEFAULT '',
    state text NOT NULL CHECK (state IN
        ('WAITING', 'REPLACING', 'WATCHED', 'DONE', 'SKIPPED', 'FAILED')),
    since timestamptz NOT NULL DEFAULT now(),
    begun_at timestamptz,
    before integer NOT NULL DEFAULT 0, -- how ill the load balancers were when it began
    successor uuid, -- the amphora that came
    words text NOT NULL DEFAULT '',
    PRIMARY KEY (upgrade_id, number)
);
