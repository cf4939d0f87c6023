"""Swarm: one study among many that share a hub. It goes on alone when the hub is away."""
