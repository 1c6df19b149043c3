"""Training sets, the training loop, gates, the model registry and axis probes. Nothing here simulates scenarios."""
