"""The hub over HTTP: routes, pages and sockets. Needs the extra `hub`."""
