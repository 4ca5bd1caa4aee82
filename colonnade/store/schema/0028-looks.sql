-- Numbers of looks at what is: of two bundles of one generation, the later look's is the newer.

CREATE SEQUENCE looks;
