"""Everything on disk: schemas, lineage, commit and resume."""
