"""Looking after a hub: backup, restore, export and import."""
