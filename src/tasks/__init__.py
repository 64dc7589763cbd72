"""The tasks of the programs: what runs once Hydra has read the configuration."""
