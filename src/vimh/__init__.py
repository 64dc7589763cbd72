"""VIMH, Variable Image Multi-Head: datasets of self-describing records of one uint8 image and its parameter codes."""
