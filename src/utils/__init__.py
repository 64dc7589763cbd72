"""Furniture of the entry points: configuration, logging, errors, and plain configurations made into objects."""
