"""Numbers about datasets and networks: audits, audio metrics, estimates and their scores, refinement."""
