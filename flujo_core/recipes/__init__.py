"""Patterns of quality control, made of public pieces only: what is here, anybody could have written."""
