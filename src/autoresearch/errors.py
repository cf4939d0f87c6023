"""The harness's own errors. A candidate's failure is none of these: it is a Trial with a reason.

AutoResearchError                the command line prints it as one message, exit code 2
├── TaskError                    task.toml is missing, broken, or contradicts the lab
├── GitError                     a git command failed, or the repository is unsuitable
│   └── BranchMoved              the study's branch is not at the commit that the ledger records
├── LedgerError                  the ledger cannot be read or written
├── ConstantError                a constant of a script is missing, or not a literal
├── ProposerError                a proposer is unknown, unavailable, or has nothing left to try
├── StrategyError                a strategy is unknown
├── NoRoom                       too little free disk or GPU memory; waiting may help
├── ExecutorError                a command cannot be run at all, or not in the sandbox
├── ReportError                  a chart or page cannot be made
├── SwarmError                   a hub rejects a request that a study needs
├── VerifyError                  there is nothing to verify, or a check has no number
├── RunFailed                    the lab's baseline does not run, exit code 1
└── EndAsked                     a person ended the study, and the current run is over
"""


class AutoResearchError(Exception):
    """The base class; a message says what was seen, what is allowed, and what to do next."""

    exit_code = 2


class TaskError(AutoResearchError):
    """task.toml is missing, broken, or contradicts the lab."""


class GitError(AutoResearchError):
    """A git command failed, or the repository is unsuitable."""


class BranchMoved(GitError):
    """The study's branch is not at the commit that the ledger records."""


class LedgerError(AutoResearchError):
    """The ledger cannot be read or written."""


class ProposerError(AutoResearchError):
    """A proposer is unknown, unavailable, or has nothing left to try."""


class StrategyError(AutoResearchError):
    """A strategy is unknown."""


class ExecutorError(AutoResearchError):
    """A command cannot be run at all, or not in the sandbox."""


class NoRoom(AutoResearchError):
    """Too little free disk or GPU memory; waiting may help."""


class ReportError(AutoResearchError):
    """A chart or page cannot be made."""


class SwarmError(AutoResearchError):
    """A hub rejects a request that a study needs; the message is the hub's."""


class VerifyError(AutoResearchError):
    """There is nothing to verify, or a check has no number."""


class RunFailed(AutoResearchError):
    """The lab's baseline does not run, so there is nothing to improve on."""

    exit_code = 1


class EndAsked(AutoResearchError):
    """A person ended the study, and the current run is over."""
