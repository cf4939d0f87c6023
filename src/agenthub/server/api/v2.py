"""The modules with v2's routes."""

from agenthub.server.api import v2_board, v2_claims, v2_git, v2_graph, v2_people, v2_results

MODULES = (v2_graph, v2_git, v2_results, v2_claims, v2_board, v2_people)
