"""The hub's git: bundles, objects, policy, and the bare repositories."""
