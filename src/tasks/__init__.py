"""What the programs do."""
