"""The ledger's tables, and how those of an older version are brought up."""

from __future__ import annotations

from autoresearch.store.ledger.trial import SCREEN, State, Status

VERSION = 5
TABLES = {"study", "trial", "run"}
OLD_TABLES = {"study", "trial", "attempt"}  # up to schema 3
_STATES = ", ".join(f"'{state}'" for state in State)
_STATUSES = ", ".join(f"'{status}'" for status in Status)
_STUDY = "CREATE TABLE IF NOT EXISTS study(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"
_TRIAL_4 = f"""(
  number INTEGER PRIMARY KEY CHECK(number >= 0),
  parent TEXT NOT NULL,
  note TEXT NOT NULL,
  proposer TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN ({_STATES})),
  "commit" TEXT NOT NULL,
  tree TEXT NOT NULL,
  status TEXT CHECK(status IN ({_STATUSES})),
  reason TEXT NOT NULL,
  created TEXT NOT NULL,
  cost_usd REAL NOT NULL CHECK(cost_usd >= 0),
  lines INTEGER,
  nodes INTEGER,
  code TEXT NOT NULL DEFAULT '',
  CHECK((status IS NULL) = (state NOT IN ('decided', 'applied')))
) STRICT;
"""
_TRIAL = _TRIAL_4.replace(" DEFAULT '',\n", " DEFAULT '',\n  explanation TEXT,\n")  # JSON
_RUN = f"""
CREATE TABLE IF NOT EXISTS run(
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
  purpose TEXT NOT NULL DEFAULT '{SCREEN}',
  load REAL,
  PRIMARY KEY(trial, number),
  CHECK(value IS NULL OR reason = '')
) STRICT;
"""
# What proposals cost, failed ones included. A cost outlives its trial's row.
_SPEND = """
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
{_STUDY}
CREATE TABLE IF NOT EXISTS trial{_TRIAL}
{_RUN}
{_SPEND}
PRAGMA user_version = {VERSION};
"""

# By schema, the statements that bring a ledger up to the next one when it is opened. They run in
# one transaction and without foreign keys; no text in them holds a semicolon.
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
{_SPEND}
INSERT INTO spend
  SELECT created, proposer, cost_usd, 0, number, 'trial' FROM trial WHERE cost_usd > 0;
PRAGMA user_version = 3;
""",
    # A step was a discard with the reason "step"; a run was an attempt, its purpose a role.
    3: f"""
CREATE TABLE trial_4{_TRIAL_4}
INSERT INTO trial_4
  SELECT number, parent, note, proposer,
    CASE state WHEN 'ran' THEN 'executed' WHEN 'judged' THEN 'measured' ELSE state END,
    "commit", tree,
    CASE WHEN status = 'discard' AND reason = 'step' THEN 'tentative' ELSE status END,
    CASE WHEN status = 'discard' AND reason = 'step' THEN ''
      WHEN reason = 'unproven' THEN 'unconfirmed' ELSE reason END,
    created, cost_usd, lines, nodes, code
  FROM trial;
{_RUN}
INSERT INTO run
  SELECT trial, number, seed, seconds, exit_code, value, memory_gb, trust, sandbox, reason, detail,
    numbers, "commit", CASE role WHEN 'proof' THEN 'confirm' ELSE role END, load
  FROM attempt;
DROP TABLE attempt;
DROP TABLE trial;
ALTER TABLE trial_4 RENAME TO trial;
PRAGMA user_version = 4;
""",
    4: """
ALTER TABLE trial ADD COLUMN explanation TEXT;
PRAGMA user_version = 5;
""",
}

TRIAL_COLUMNS = (
    "number", "parent", "note", "proposer", "state", "commit", "tree",
    "status", "reason", "created", "cost_usd", "lines", "nodes", "code",
    "explanation",
)  # fmt: skip
SPEND_COLUMNS = ("at", "proposer", "usd", "tokens", "trial", "kind")
RUN_COLUMNS = (
    "number", "seed", "seconds", "exit_code", "value", "memory_gb",
    "trust", "sandbox", "reason", "detail", "numbers", "commit", "purpose", "load",
)  # fmt: skip
