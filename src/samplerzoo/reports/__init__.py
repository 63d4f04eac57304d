"""The page that compares runs, made from what they left on disk."""
