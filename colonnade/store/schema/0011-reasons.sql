-- Why an object's operating status is what it is, and since when; one sentence for people.
ALTER TABLE load_balancers ADD COLUMN operating_reason text NOT NULL DEFAULT '',
    ADD COLUMN operating_since timestamptz;
ALTER TABLE listeners ADD COLUMN operating_reason text NOT NULL DEFAULT '',
    ADD COLUMN operating_since timestamptz;
ALTER TABLE pools ADD COLUMN operating_reason text NOT NULL DEFAULT '',
    ADD COLUMN operating_since timestamptz;
ALTER TABLE members ADD COLUMN operating_reason text NOT NULL DEFAULT '',
    ADD COLUMN operating_since timestamptz;
ALTER TABLE health_monitors ADD COLUMN operating_reason text NOT NULL DEFAULT '',
    ADD COLUMN operating_since timestamptz;
ALTER TABLE l7policies ADD COLUMN operating_reason text NOT NULL DEFAULT '',
    ADD COLUMN operating_since timestamptz;
ALTER TABLE l7rules ADD COLUMN operating_reason text NOT NULL DEFAULT '',
    ADD COLUMN operating_since timestamptz;
