"""The hub's page for people: rendered here, readable without scripts, alive with them.

What stands on it was written by strangers. `markup.html` escapes whatever is not `Html` yet, and
nothing else makes HTML; the policy that `routes` sends lets no style or script run but our files.
"""
