"""Searched samplers for the tools in which people sample."""
