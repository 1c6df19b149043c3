"""Agreement with the teacher and with surveys, benchmarks and the validation report. Nothing here changes a model."""
