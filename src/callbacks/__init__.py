"""What a training shows of itself in TensorBoard beside its metrics: gradients, pictures per head, hyper-parameters."""
