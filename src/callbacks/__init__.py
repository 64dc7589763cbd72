"""Lightning callbacks: what TensorBoard shows beside the metrics, how checkpoints are saved, how memory is freed."""
