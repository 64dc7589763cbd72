"""The page of a dataset: all its records to see, sort, filter and hear, from a server or in one file."""
