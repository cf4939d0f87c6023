"""A study's link to a hub: it publishes finished trials, tries others' results, replicates them."""
