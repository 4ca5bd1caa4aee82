-- SPDX-License-Identifier: Apache-2.0
-- Several load balancers of a project on one amphora: each has a seat there, which is a row like an amphora's.

ALTER TABLE clusters ADD COLUMN per_amphora smallint NOT NULL DEFAULT 1 CHECK (per_amphora >= 1);

-- `carrier_id`: of a seat, the amphora it is on. It outlives that one's row, for it is cleared away by itself.
-- `project_id`: of an amphora that carries seats, whose load balancers they are.
ALTER TABLE amphorae
    ADD COLUMN carrier_id uuid,
    ADD COLUMN project_id text,
    DROP CONSTRAINT amphorae_state_check,
    ADD CONSTRAINT amphorae_state_check CHECK (state IN ('BOOTING', 'SPARE', 'CARRYING', 'SERVING', 'LEAVING', 'FAILED', 'RETIRING', 'GONE')),
    ADD CONSTRAINT amphorae_carrier_check CHECK ((state = 'CARRYING') <= (project_id IS NOT NULL));
CREATE INDEX amphorae_carrier ON amphorae (carrier_id) WHERE carrier_id IS NOT NULL;
