"""One word, one meaning: retired words stay out of names, messages, comments and pages.

`docs/glossary.md` has the words in use. Names are read from the syntax tree, so that a word in a
string is no name; phrases are looked for in comments, docstrings, messages and pages.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
MODULES = [path for path in sorted(SRC.rglob("*.py")) if "labs" not in path.parts]
# The glossary names retired words, the changelog has history, `make docs` writes cli.md from src.
PAGES = [
    path
    for glob in ("*.md", "docs/*.md", "deploy/*.md", "src/**/*.md")
    for path in sorted(ROOT.glob(glob))
    if path.name not in ("CHANGELOG.md", "glossary.md", "cli.md")
]
NAMED = {str(page.relative_to(ROOT)): page for page in PAGES}
PAGES_OF_HUB = ("docs/hub.md", "deploy/README.md", "src/agenthub/README.md")
PAGES_OF_LOOP = tuple(sorted({*NAMED} - {*PAGES_OF_HUB}))

SQL = re.compile(r"\b(SELECT|INSERT INTO|ALTER TABLE|CREATE TABLE|DELETE FROM|PRAGMA)\b")
LOOP = "autoresearch/"
HUB = "agenthub/"
ANSWERS = ("autoresearch/cli/tried.py", "autoresearch/cli/mcp_server.py")  # `proof` is a JSON key
DECIDING = ("autoresearch/strategies/", "autoresearch/study/", "autoresearch/store/")


@dataclass(frozen=True)
class Name:
    """A word that no class, function, argument, attribute or variable has in its name."""

    word: str  # in lower case; parts of a name are joined by "_": `give_way`
    instead: str
    where: tuple[str, ...] = ("",)  # below src/: where the word is retired
    but: tuple[str, ...] = ()  # below src/: where it has its one meaning
    whole: bool = False  # the whole name is this word, underscores around it aside
    kind: str = ""  # only names of classes, or of functions; empty: all names


@dataclass(frozen=True)
class Phrase:
    """Words that no comment, docstring, message or page uses."""

    pattern: str  # regular expression, case does not matter
    instead: str
    where: tuple[str, ...] = ("",)
    but: tuple[str, ...] = ()


NAMES = (
    Name("desk", "Workspaces (study/proposing)"),
    Name("courier", "sync_thread, SyncThread"),
    Name("scout", "discovery, Discovery"),
    Name("station", "hub_protocol"),
    Name("shadow", "mirror (swarm/mirror_commits)"),
    Name("echoes", "repeats, Repeats"),
    Name("earnings", "attribution"),
    Name("arm", "ProposerStats", whole=True, kind="class"),
    Name("persistence", "retry_policy, RetryPolicy"),
    Name("patience", "retry_policy; a wait is `max_seconds`, `timeout` or `grace`"),
    Name("give_way", "rotate"),
    Name("of_team", "TeamDelegate", whole=True),
    Name("unwanted", "cancelled"),
    Name("anchor", "incumbent", where=("autoresearch/strategies/",)),
    Name("attempt", "run", where=(LOOP,), but=("autoresearch/swarm/",)),
    Name("attempts", "runs", where=(LOOP,), but=("autoresearch/swarm/",)),
    Name(
        "judge",
        "decide (a strategy), recompute (a hub's verdict), check (a push)",
        but=("autoresearch/evaluation/", "autoresearch/lab/"),
        kind="function",
    ),
    Name("judged", "measured, decided, checked", but=("autoresearch/evaluation/",)),
    Name("ran", "executed; a function: run_of", where=DECIDING, whole=True),
    Name("unproven", "due_confirmation"),
    Name("prove", "confirm"),
    Name("proven", "confirmed"),
    Name("prover", "the proposer `confirm`: CONFIRMER"),
    Name("proof", "confirmation", but=ANSWERS),
    Name("proofs", "confirmations"),
    Name("confirm", "SequentialConfirmation", whole=True, kind="class"),
    Name("bench", "Evaluator; a verb: set_aside"),
    Name("look", "RunRequest", whole=True, kind="class"),
    Name("look", "request", where=("autoresearch/strategies/",), whole=True),
    Name("role", "purpose", where=DECIDING, whole=True),
    Name("draw", "seed_index", where=DECIDING),
    Name("anew", "recompute, rebuild, restart"),
    Name("smart", "git_http", where=(HUB,)),
    Name("classic", "v1"),
    Name("crowd", "limits"),
    Name("gate", "limits", where=(HUB,)),
    Name("shelf", "PageCache"),
    Name("pulse", "live_updates; of a study: heartbeat"),
    Name("keeping", "backup", where=("agenthub/ops/", "agenthub/cli/")),
    Name("told", "what it holds: reply, output, report", whole=True, kind="function"),
    Name("said", "what it holds: output, message", whole=True, kind="function"),
    Name("asked", "what it holds: request, question", whole=True, kind="function"),
)

# Files that were renamed; a stem is a word as well.
STEMS = {
    "anew": "recompute", "attend": "watch_agent", "bench": "evaluator", "classic": "v1_client",
    "confine": "limits", "courier": "sync_thread", "crowd": "limits", "desk": "proposing",
    "earnings": "attribution", "echoes": "repeats", "gate": "limits", "keeping": "backup",
    "levels": "probe", "persistence": "retry_policy", "places": "visible_paths",
    "pulse": "live_updates", "room": "disk_space, locks or gpus", "scout": "discovery",
    "shadow": "mirror_commits", "shelf": "PageCache", "smart": "git_http",
    "station": "hub_protocol", "student": "student_t",
}  # fmt: skip

PHRASES = (
    Phrase(r"those who (do not|listen|look|know|are|ran|run|wait)", "name them: callers, readers"),
    Phrase(r"\bwhoever\b", "name the actor: the caller, the client, the admin"),
    Phrase(r"\bnobody (wants|came|waits for|has heard)\b", "what happened: cancelled, no client"),
    Phrase(r"\b(is|are|was|were|be|been|being) told\b", "receives, is given, recorded, rejected"),
    Phrase(r"\btold (of|that|this|it|them|as|about|at)\b", "reported, recorded, passed"),
    Phrase(r"\bsays? of (itself|themselves)\b", "describes, declares"),
    Phrase(r"\btells? (of|no|none)\b", "reports, names; reports no"),
    Phrase(r"\b(to|for) whom\b", "name the actor"),
    Phrase(r"\banew\b", "again, from scratch; recompute"),
    Phrase(r"\bthe ground\b", "what it checks: the folder, the branch, the lock"),
    Phrase(r"\bthe line of (one|a|an)\b", "the steps of"),
    Phrase(r"\banother look\b", "another run"),
    Phrase(r"\bgives? way\b", "rotates, yields to"),
    Phrase(r"\bempty hand\b", "no edit"),
    Phrase(r"\banchors?\b", "incumbent", where=("autoresearch/strategies/", *PAGES_OF_LOOP)),
    Phrase(r"\bproofs?\b", "confirmation", where=(LOOP, *PAGES_OF_LOOP)),
    Phrase(r"\b(un)?proven\b", "confirmed; unconfirmed", where=(LOOP, *PAGES_OF_LOOP)),
    Phrase(r"\bprov(e|es|ed|ing)\b", "confirm; shows", where=(*DECIDING, *PAGES_OF_LOOP)),
    Phrase(
        r"\battempts?\b(?![-.])",  # not attempt-0/run.log, a path
        "run",
        where=(LOOP, *PAGES_OF_LOOP),
        # hubs have attempts; old ledgers had a table of that name
        but=("autoresearch/swarm/", "autoresearch/store/ledger/schema.py"),
    ),
)


@dataclass(frozen=True)
class Hit:
    """A retired word where it stands; printed as `path:line: word: what to write`."""

    path: str
    line: int
    text: str
    instead: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.text}" is retired; write: {self.instead}'


def applies(entry: Name | Phrase, path: str) -> bool:
    """Whether a word is retired in a file; paths are those below src/, or of a page."""
    return path.startswith(entry.where) and not (entry.but and path.startswith(entry.but))


def names(source: str) -> Iterator[tuple[str, str, int]]:
    """Kind, name and line of all that a module defines; uses follow their definitions."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield "function", node.name, node.lineno
            case ast.ClassDef():
                yield "class", node.name, node.lineno
            case ast.arg():
                yield "argument", node.arg, node.lineno
            case ast.Attribute(ctx=ast.Store()):
                yield "attribute", node.attr, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield "variable", node.id, node.lineno
            case ast.alias(asname=str(other)):
                yield "variable", other, node.lineno
            case ast.ExceptHandler(name=str(other)):
                yield "variable", other, node.lineno


def snake(name: str) -> str:
    """`SyncThread`, `_sync_thread` and `SYNC_THREAD` are all `sync_thread`."""
    return "_".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)).lower()


def retired_names(path: str, source: str) -> Iterator[Hit]:
    """Names that a module defines and should not."""
    entries = [entry for entry in NAMES if applies(entry, path)]
    for kind, name, line in names(source):
        words = snake(name)
        for entry in entries:
            if entry.kind not in ("", kind):
                continue
            if words == entry.word or (not entry.whole and f"_{entry.word}_" in f"_{words}_"):
                yield Hit(f"src/{path}", line, name, entry.instead)


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and messages of a module; SQL and strings without a space are data."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], unquoted(token.string)
    for node in ast.walk(ast.parse(source)):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and " " in text and not SQL.search(text):
            yield node.lineno, unquoted(text)


def unquoted(text: str) -> str:
    """A text without what stands in backticks: that is code or data. Lines stay as they are."""
    return re.sub(r"`[^`]*`", lambda code: "``" + "\n" * code[0].count("\n"), text)


def page_prose(text: str) -> Iterator[tuple[int, str]]:
    """The text of a page, paragraph by paragraph, without its code and its generated tables."""
    for data in (r"```.*?```", r"<!-- (\w+) -->\n\|.*?<!-- /\1 -->"):
        text = re.sub(data, lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL)
    for block in re.finditer(r"(?:[^\n]+\n?)+", text):
        yield text.count("\n", 0, block.start()) + 1, unquoted(block[0])


def retired_phrases(path: str, texts: Iterator[tuple[int, str]], shown: str) -> Iterator[Hit]:
    """Phrases that a file's texts use and should not."""
    entries = [entry for entry in PHRASES if applies(entry, path)]
    for line, text in texts:
        for entry in entries:
            for found in re.finditer(entry.pattern.replace(" ", r"\s+"), text, re.IGNORECASE):
                at = line + text.count("\n", 0, found.start())
                yield Hit(shown, at, " ".join(found[0].split()), entry.instead)


def report(hits: list[Hit]) -> str:
    """The hits for people, a line each."""
    return "\n".join(["", *sorted({str(hit) for hit in hits})])


def test_no_name_uses_a_retired_word() -> None:
    """Classes, functions, arguments, attributes and variables follow the glossary."""
    hits = [
        hit
        for path in MODULES
        for hit in retired_names(str(path.relative_to(SRC)), path.read_text())
    ]
    assert not hits, report(hits)


def test_no_module_has_a_retired_name() -> None:
    """The same for files and folders."""
    hits = [
        Hit(str(path.relative_to(ROOT)), 1, part, STEMS[part])
        for path in MODULES
        for part in path.relative_to(SRC).with_suffix("").parts
        if part in STEMS
    ]
    assert not hits, report(hits)


def test_no_message_or_docstring_riddles() -> None:
    """Comments, docstrings and messages use none of the retired phrases."""
    hits = [
        hit
        for path in MODULES
        for below in [str(path.relative_to(SRC))]
        for hit in retired_phrases(below, prose(path.read_text()), f"src/{below}")
    ]
    assert not hits, report(hits)


@pytest.mark.parametrize("page", NAMED)
def test_no_page_riddles(page: str) -> None:
    """Nor does a page for people."""
    hits = list(retired_phrases(page, page_prose(NAMED[page].read_text()), page))
    assert not hits, report(hits)


def test_names_are_seen_wherever_they_are_defined() -> None:
    """Each kind of definition counts; strings, uses, and longer words do not."""
    source = (
        "import desk_api as desk\n"
        "class DeskView: pass\n"
        "def clear_desk(desks, at_desk): self.DESK = 'desk'\n"
        "print(other.desk, desktop)\n"
    )
    found = {(hit.line, hit.text) for hit in retired_names("autoresearch/x.py", source)}
    assert found == {(1, "desk"), (2, "DeskView"), (3, "clear_desk"), (3, "at_desk"), (3, "DESK")}


def test_a_word_is_retired_only_where_it_meant_something_else() -> None:
    """The hub has attempts, the loop has runs; the judge judges, a strategy decides."""
    source = "def judge(attempt): pass\n"
    loop = {hit.text for hit in retired_names("autoresearch/strategies/x.py", source)}
    assert loop == {"judge", "attempt"}
    judge = {hit.text for hit in retired_names("autoresearch/evaluation/x.py", source)}
    assert judge == {"attempt"}
    hub = {hit.text for hit in retired_names("agenthub/records/x.py", source)}
    assert hub == {"judge"}


def test_phrases_are_seen_across_lines_and_not_in_data() -> None:
    """Comments, docstrings and messages are read whole; keys, paths and SQL are left alone."""
    source = (
        '"""One line.\n\nThe listener of those who do\nnot listen."""\n'
        "x = 'proof'  # a key\n"
        "# whoever comes\n"
        "raise ValueError(f'the {x} was proven twice')\n"
        "log = f'see attempt-{x}/run.log or attempt.json'\n"
        "rows = execute('SELECT proof FROM attempts')\n"
    )
    hits = retired_phrases("autoresearch/x.py", prose(source), "x.py")
    assert {(hit.line, hit.text) for hit in hits} == {
        (3, "those who do not"),
        (6, "whoever"),
        (7, "proven"),
    }


def test_code_on_a_page_is_no_prose() -> None:
    """Blocks, words in backticks and generated tables are data; lines are counted through them."""
    text = "A `proof\nof` is\nquoted.\n\n```sh\nah push  # whoever\n```\n\nIt is\nmade anew.\n"
    hits = list(retired_phrases("docs/x.md", page_prose(text), "docs/x.md"))
    assert [(hit.line, hit.text) for hit in hits] == [(10, "anew")]
