-- SPDX-License-Identifier: Apache-2.0
-- An amphora that an operator has replaced serves until another does: a state of its own.
ALTER TABLE amphorae
    DROP CONSTRAINT amphorae_state_check,
    ADD CONSTRAINT amphorae_state_check
        CHECK (state IN ('BOOTING', 'SPARE', 'SERVING', 'LEAVING', 'FAILED', 'RETIRING', 'GONE'));
