"""The hub's page for people: rendered by the server, readable without scripts, live with them.

Strangers wrote most of what it shows. `rendering` cleans and escapes all text that is not `Markup`,
and the policy that `routes` sends lets the browser run no style or script but those in `assets`.
"""
