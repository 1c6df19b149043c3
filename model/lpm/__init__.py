"""The mechanistic engine (LPM): programs of declared substeps, calibrated by gradient; no data, no files."""
