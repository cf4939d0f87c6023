"""The ledger's tables, and how those of an older version are brought up."""

from __future__ import annotations

from autoresearch.store.ledger.trial import SCREEN, State, Status

VERSION = 3
TABLES = {"study", "trial", "attempt"}
# What proposals cost, those that came to nothing included. A cost outlives its trial's row.
SPEND = """
CREATE TABLE IF NOT EXISTS spend(
  at TEXT NOT NULL,
  proposer TEXT NOT NULL,
  usd REAL NOT NULL CHECK(usd >= 0),
  tokens INTEGER NOT NULL CHECK(tokens >= 0),
  trial INTEGER REFERENCES trial(number) ON DELETE SET NULL,
  kind TEXT NOT NULL
) STRICT;
"""
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS study(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS trial(
  number INTEGER PRIMARY KEY CHECK(number >= 0),
  parent TEXT NOT NULL,
  note TEXT NOT NULL,
  proposer TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN ({", ".join(f"'{s}'" for s in State)})),
  "commit" TEXT NOT NULL,
  tree TEXT NOT NULL,
  status TEXT CHECK(status IN ({", ".join(f"'{s}'" for s in Status)})),
  reason TEXT NOT NULL,
  created TEXT NOT NULL,
  cost_usd REAL NOT NULL CHECK(cost_usd >= 0),
  lines INTEGER,
  nodes INTEGER,
  code TEXT NOT NULL DEFAULT '',
  CHECK((status IS NULL) = (state NOT IN ('decided', 'applied')))
) STRICT;
CREATE TABLE IF NOT EXISTS attempt(
  trial INTEGER NOT NULL REFERENCES trial(number),
  number INTEGER NOT NULL CHECK(number >= 0),
  seed INTEGER NOT NULL,
  seconds REAL NOT NULL CHECK(seconds >= 0),
  exit_code INTEGER,
  value REAL,
  memory_gb REAL NOT NULL,
  trust TEXT NOT NULL,
  sandbox TEXT NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  numbers TEXT NOT NULL,
  "commit" TEXT NOT NULL DEFAULT '',
  role TEXT NOT NULL DEFAULT '{SCREEN}',
  load REAL,
  PRIMARY KEY(trial, number),
  CHECK(value IS NULL OR reason = '')
) STRICT;
{SPEND}
PRAGMA user_version = {VERSION};
"""

# What each schema lacks of the next: a ledger of an older one is brought up when it is opened.
UPGRADES = {
    1: f"""
ALTER TABLE trial ADD COLUMN lines INTEGER;
ALTER TABLE trial ADD COLUMN nodes INTEGER;
ALTER TABLE attempt ADD COLUMN "commit" TEXT NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN role TEXT NOT NULL DEFAULT '{SCREEN}';
ALTER TABLE attempt ADD COLUMN load REAL;
PRAGMA user_version = 2;
""",
    2: f"""
ALTER TABLE trial ADD COLUMN code TEXT NOT NULL DEFAULT '';
{SPEND}
INSERT INTO spend
  SELECT created, proposer, cost_usd, 0, number, 'trial' FROM trial WHERE cost_usd > 0;
PRAGMA user_version = 3;
""",
}

TRIAL_COLUMNS = (
    "number", "parent", "note", "proposer", "state", "commit", "tree",
    "status", "reason", "created", "cost_usd", "lines", "nodes", "code",
)  # fmt: skip
SPEND_COLUMNS = ("at", "proposer", "usd", "tokens", "trial", "kind")
ATTEMPT_COLUMNS = (
    "number", "seed", "seconds", "exit_code", "value", "memory_gb",
    "trust", "sandbox", "reason", "detail", "numbers", "commit", "role", "load",
)  # fmt: skip
