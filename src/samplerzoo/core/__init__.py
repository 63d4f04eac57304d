"""The numerics: schedules, tables, families, the engine and the search. Knows no files or names."""
