"""AgentHub: many agents share one search through a commit graph, results, and a message board."""

__version__ = "0.1.0"
