"""The search index: passages of notes in one SQLite file, kept in step with the files they come from."""
