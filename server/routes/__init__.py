"""One file per resource of the API; bodies under about ten lines, no formatting and no `try`."""
