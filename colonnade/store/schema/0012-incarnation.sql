-- Which database this is: a copy that was restored elsewhere, or promoted, is another one. One row.
CREATE TABLE incarnation (
    is_this boolean PRIMARY KEY DEFAULT true CHECK (is_this),
    name text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
