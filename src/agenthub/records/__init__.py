"""What a hub keeps: one database, a module per noun, and `Hub`, which holds them all."""
