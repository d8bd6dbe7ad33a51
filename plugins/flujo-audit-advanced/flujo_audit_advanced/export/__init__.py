"""Exporters: they carry the log's records to the logging systems and stores of others, at least once and in order."""
