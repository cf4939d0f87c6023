"""Operating a hub: back it up, restore it, check it, and move a project to another hub.

The commands use `backup` alone; it has `backup_into`, `restore`, `check`, `export` and `import_`.
"""
