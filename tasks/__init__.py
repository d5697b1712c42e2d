"""Tasks: one readable file each. Imported as `clinical.tasks`."""
