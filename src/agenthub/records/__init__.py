"""What the hub stores in its database, one module per noun; `hub.Hub` holds them all.

Other packages open a data folder with `hub.open_hub` and reach the nouns through `Hub` and `Space`:
`agents`, `projects`, `commits`, `board`, `results`, `replication`, `claims`, `events`.
"""
