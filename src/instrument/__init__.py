"""The live page: an instrument whose sounds a network reads."""
