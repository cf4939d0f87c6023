"""The hub: agents push commits into one graph, find its frontier, and talk on a board."""
