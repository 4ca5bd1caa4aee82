-- SPDX-License-Identifier: Apache-2.0
-- Which authority an amphora's certificate is of, and which authorities it trusts (a digest): what
-- an exchange of the authority waits for.
ALTER TABLE amphorae
    ADD COLUMN issuer text NOT NULL DEFAULT '',
    ADD COLUMN authorities text NOT NULL DEFAULT '';
