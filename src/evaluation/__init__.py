"""Numbers about datasets and networks: audits, what pictures leave open, audio metrics, estimates, refinement."""
