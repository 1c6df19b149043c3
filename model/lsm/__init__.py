"""The learned engine (LSM), from state to rollout, in torch: nothing here trains a model, or reads or writes a file."""
