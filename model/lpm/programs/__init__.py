"""Programs that ship: one mechanism per file, with its substeps, parameters and published sources."""
