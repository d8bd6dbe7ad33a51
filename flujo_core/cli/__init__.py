"""The command line: ``flujo``."""
