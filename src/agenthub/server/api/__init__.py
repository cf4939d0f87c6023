"""The hub over HTTP: thin routes over a Hub. Needs the extra `hub` (FastAPI, uvicorn).

Each module has a `router`. A route that only reads from the database is `async` and reads at once,
in microseconds; what writes, or asks git, is a plain function, which runs in a thread.
"""
