"""Whole runs, from Python."""
