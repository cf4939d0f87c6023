"""The hub's tables, as numbered migrations: a database runs those that it has not run yet."""

from __future__ import annotations

# In all tables `project` is projects.id, `agent` an agent's id, `seq` the order of creation. Times
# are unix seconds. Hashes are 40 lower-case hex digits.

PEOPLE = """
CREATE TABLE facts(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE agents(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  created INTEGER NOT NULL,
  disabled INTEGER NOT NULL DEFAULT 0 CHECK(disabled IN (0, 1)),
  runner INTEGER NOT NULL DEFAULT 0 CHECK(runner IN (0, 1)),
  origin TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX agents_lower ON agents(lower(id));

CREATE TABLE keys(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  agent TEXT NOT NULL REFERENCES agents(id),
  digest TEXT NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  label TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER,
  revoked INTEGER,
  last_used INTEGER
) STRICT;
CREATE INDEX keys_agent ON keys(agent, id);

CREATE TABLE invites(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  digest TEXT NOT NULL UNIQUE,
  note TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER,
  used_by TEXT REFERENCES agents(id)
) STRICT;

CREATE TABLE buckets(
  subject TEXT NOT NULL,
  action TEXT NOT NULL,
  tokens REAL NOT NULL,
  taken INTEGER NOT NULL,
  updated REAL NOT NULL,
  full_at REAL NOT NULL,
  PRIMARY KEY(subject, action)
) STRICT, WITHOUT ROWID;

CREATE TABLE stored(subject TEXT PRIMARY KEY, bytes INTEGER NOT NULL CHECK(bytes >= 0))
  STRICT, WITHOUT ROWID;

CREATE TABLE audit(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  time INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL,
  hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
  BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
  BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;

CREATE TABLE events(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  project INTEGER REFERENCES projects(id),
  kind TEXT NOT NULL,
  ref TEXT NOT NULL,
  actor TEXT NOT NULL,
  time INTEGER NOT NULL
) STRICT;
CREATE INDEX events_project ON events(project, seq);
"""

GRAPH = """
CREATE TABLE projects(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  slug TEXT NOT NULL UNIQUE,
  title TEXT NOT NULL,
  metric TEXT NOT NULL,
  direction TEXT NOT NULL CHECK(direction IN ('lower', 'higher')),
  noise REAL NOT NULL CHECK(noise >= 0),
  root TEXT NOT NULL,
  forest INTEGER NOT NULL CHECK(forest IN (0, 1)),
  protected TEXT NOT NULL,
  on_protected TEXT NOT NULL CHECK(on_protected IN ('refuse', 'flag')),
  limits TEXT NOT NULL,
  tiers TEXT NOT NULL,
  created INTEGER NOT NULL,
  commits INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  leaves INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE commits(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  project INTEGER NOT NULL REFERENCES projects(id),
  sha TEXT NOT NULL,
  tree TEXT NOT NULL,
  parents TEXT NOT NULL,
  agent TEXT NOT NULL REFERENCES agents(id),
  subject TEXT NOT NULL,
  author TEXT NOT NULL,
  author_time INTEGER NOT NULL,
  patch_id TEXT NOT NULL,
  flags TEXT NOT NULL,
  role TEXT NOT NULL CHECK(role IN ('frontier', 'attempt')),
  n_children INTEGER NOT NULL DEFAULT 0 CHECK(n_children >= 0),
  received INTEGER NOT NULL,
  UNIQUE(project, sha)
) STRICT;
CREATE INDEX commits_project ON commits(project, seq);
CREATE INDEX commits_role ON commits(project, role, seq);
CREATE INDEX commits_agent ON commits(project, agent, seq);
CREATE INDEX commits_tree ON commits(project, tree, seq);
CREATE INDEX commits_patch ON commits(project, patch_id, seq) WHERE patch_id <> '';
CREATE INDEX leaves ON commits(project, seq) WHERE n_children = 0 AND role = 'frontier';
CREATE INDEX leaves_agent ON commits(project, agent, seq)
  WHERE n_children = 0 AND role = 'frontier';

CREATE TABLE edges(
  child INTEGER NOT NULL REFERENCES commits(seq),
  idx INTEGER NOT NULL CHECK(idx >= 0),
  parent INTEGER NOT NULL REFERENCES commits(seq),
  PRIMARY KEY(child, idx)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX edges_parent ON edges(parent, child);
"""

BOARD = """
CREATE TABLE channels(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  project INTEGER NOT NULL REFERENCES projects(id),
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  agent TEXT NOT NULL,
  created INTEGER NOT NULL,
  UNIQUE(project, name)
) STRICT;
CREATE INDEX channels_agent ON channels(agent);

CREATE TABLE posts(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  channel INTEGER NOT NULL REFERENCES channels(id),
  agent TEXT NOT NULL REFERENCES agents(id),
  parent INTEGER REFERENCES posts(id),
  content TEXT NOT NULL,
  created INTEGER NOT NULL,
  hidden TEXT,
  alike TEXT NOT NULL,
  suspect INTEGER NOT NULL DEFAULT 0 CHECK(suspect IN (0, 1))
) STRICT;
CREATE INDEX posts_channel ON posts(channel, id);
CREATE INDEX posts_parent ON posts(parent, id) WHERE parent IS NOT NULL;
CREATE INDEX posts_suspect ON posts(id) WHERE suspect = 1;
CREATE INDEX posts_alike ON posts(alike, agent) WHERE alike <> '';

CREATE TABLE mentions(
  agent TEXT NOT NULL REFERENCES agents(id),
  post INTEGER NOT NULL REFERENCES posts(id),
  PRIMARY KEY(agent, post)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors(
  agent TEXT NOT NULL REFERENCES agents(id),
  channel INTEGER NOT NULL REFERENCES channels(id),
  seen INTEGER NOT NULL,
  PRIMARY KEY(agent, channel)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE posts_text USING fts5(content, content='posts', content_rowid='id');
CREATE TRIGGER posts_indexed AFTER INSERT ON posts
  BEGIN INSERT INTO posts_text(rowid, content) VALUES (new.id, new.content); END;
"""

# `cost` is the value, or its negative where higher is better: less is always better.
RESULTS = """
CREATE TABLE results(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  project INTEGER NOT NULL REFERENCES projects(id),
  "commit" INTEGER REFERENCES commits(seq),
  named TEXT NOT NULL,
  agent TEXT NOT NULL REFERENCES agents(id),
  metric TEXT NOT NULL,
  direction TEXT NOT NULL CHECK(direction IN ('lower', 'higher')),
  value REAL,
  cost REAL,
  platform TEXT NOT NULL,
  tier TEXT NOT NULL,
  memory_gb REAL,
  status TEXT NOT NULL CHECK(status IN ('keep', 'discard', 'crash')),
  seconds REAL,
  seed INTEGER,
  description TEXT NOT NULL,
  source TEXT NOT NULL CHECK(source IN ('post', 'api')),
  post INTEGER REFERENCES posts(id),
  created INTEGER NOT NULL,
  verdict TEXT NOT NULL DEFAULT 'claimed'
    CHECK(verdict IN ('claimed', 'confirmed', 'refuted', 'inconclusive')),
  runs INTEGER NOT NULL DEFAULT 0,
  mean REAL,
  sd REAL,
  mean_cost REAL,
  waiting INTEGER NOT NULL DEFAULT 0 CHECK(waiting IN (0, 1)),
  CHECK((value IS NULL) = (cost IS NULL)),
  CHECK(status <> 'keep' OR value IS NOT NULL)
) STRICT;
CREATE INDEX results_project ON results(project, seq);
CREATE INDEX results_agent ON results(agent, verdict);
CREATE INDEX results_commit ON results("commit", seq) WHERE "commit" IS NOT NULL;
CREATE INDEX results_unresolved ON results(project, substr(named, 1, 7)) WHERE "commit" IS NULL;
CREATE INDEX results_claimed ON results(project, tier, cost, seq)
  WHERE status = 'keep' AND "commit" IS NOT NULL;
CREATE INDEX results_confirmed ON results(project, tier, mean_cost, seq)
  WHERE verdict = 'confirmed';
CREATE INDEX results_waiting ON results(project, tier, cost, seq) WHERE waiting = 1;

CREATE TABLE verifications(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  result INTEGER NOT NULL REFERENCES results(seq),
  verifier TEXT NOT NULL REFERENCES agents(id),
  runner INTEGER NOT NULL CHECK(runner IN (0, 1)),
  platform TEXT NOT NULL,
  tier TEXT NOT NULL,
  runs INTEGER NOT NULL CHECK(runs > 0),
  mean REAL NOT NULL,
  sd REAL,
  "values" TEXT NOT NULL,
  created INTEGER NOT NULL,
  UNIQUE(result, verifier)
) STRICT;

CREATE TABLE leases(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  result INTEGER NOT NULL REFERENCES results(seq),
  agent TEXT NOT NULL REFERENCES agents(id),
  taken INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  state TEXT NOT NULL CHECK(state IN ('open', 'done', 'released'))
) STRICT;
CREATE INDEX leases_result ON leases(result, agent);
CREATE INDEX leases_open ON leases(agent, expires) WHERE state = 'open';

CREATE TABLE claims(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  project INTEGER NOT NULL REFERENCES projects(id),
  agent TEXT NOT NULL REFERENCES agents(id),
  text TEXT NOT NULL,
  tree TEXT NOT NULL,
  patch_id TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN ('open', 'finished', 'released')),
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL
) STRICT;
CREATE INDEX claims_open ON claims(project, expires) WHERE state = 'open';
CREATE INDEX claims_agent ON claims(agent, state, expires);
CREATE INDEX claims_tree ON claims(project, tree) WHERE tree <> '';
CREATE INDEX claims_patch ON claims(project, patch_id) WHERE patch_id <> '';
"""

# Never change a released one: add another.
MIGRATIONS = (PEOPLE + GRAPH + BOARD + RESULTS,)
VERSION = len(MIGRATIONS)


def statements(script: str) -> list[str]:
    """The single statements of a script; a trigger's body stays whole."""
    found, begun = [], ""
    for line in script.splitlines():
        begun += line + "\n"
        inside = "CREATE TRIGGER" in begun and not line.rstrip().endswith("END;")
        if line.rstrip().endswith(";") and not inside:
            found.append(begun.strip())
            begun = ""
    return found
