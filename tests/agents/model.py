"""A model that edits the tiny lab, one score a session, in the way that suits each agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from model_server import SHELLS, Reply, Request, Script, Tool, calls, fails, says

TOOLLESS = ("aider", "llm")  # their models answer with the edit itself
WRITERS = {"write_file": "file_path", "write": "filePath"}  # tools that write, and where they do
SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"  # the word by which mini-swe-agent ends
TRAIN = "SCORE = {}\n"
Session = float | Callable[[Request], Reply]  # a score to write, or what is answered instead


def model(agent: str, sessions: Iterable[Session]) -> Script:
    """One session per conversation, recognised by its beginning."""
    left, score = iter(sessions), [0.0]

    def script(request: Request) -> Reply:
        if not request.tools and agent not in TOOLLESS:
            return says("A title")  # for the agent's own list of sessions
        if request.results:
            return _end(agent, request, score[0])
        session = next(left, _over)
        if callable(session):
            return session(request)
        score[0] = session
        return _edit(agent, request, session)

    return script


def says_nothing(request: Request) -> Reply:
    """A session without an edit."""
    if "bash" in request.tools:  # mini-swe-agent goes on until a command ends it
        return calls("bash", SHELLS["bash"](f"echo {SUBMIT}; echo 'I would rather not.'"))
    return says("I would rather not.")


def starts(command: str) -> Callable[[Request], Reply]:
    """A session that begins with a command; another one answers after its result."""

    def session(request: Request) -> Reply:
        shell = _offered(request, SHELLS)
        return calls(shell, SHELLS[shell](command))

    return session


def _over(request: Request) -> Reply:
    return fails(401, "Incorrect API key: the script is over")  # which ends a night at once


def _edit(agent: str, request: Request, score: float) -> Reply:
    text = TRAIN.format(score)
    if agent == "llm":
        return says(f"NOTE: score {score:g}\n<<<<<<< WHOLE train.py\n{text}>>>>>>> END")
    if agent == "aider":
        return says(f"NOTE: score {score:g}\n\ntrain.py\n```\n{text}```\n")
    if agent.endswith("-acp"):  # a shell is refused there
        writer = _offered(request, WRITERS)
        return Reply(tools=(Tool(writer, {WRITERS[writer]: "train.py", "content": text}),))
    shell = _offered(request, SHELLS)
    return calls(shell, SHELLS[shell](f"printf 'SCORE = {score}\\n' > train.py"))


def _end(agent: str, request: Request, score: float) -> Reply:
    if agent == "mini-swe-agent":
        return calls("bash", SHELLS["bash"](f"echo {SUBMIT}; echo 'NOTE: score {score:g}'"))
    return says(f"I edited train.py.\nNOTE: score {score:g}")


def _offered(request: Request, wanted: Iterable[str]) -> str:
    return next(name for name in wanted if name in request.tools)
