"""Our own trouble. A candidate's failure is never one of these: it is a Trial with a reason.

AutoResearchError                what the command line shows as one message, exit code 2
├── TaskError                    task.toml is missing, broken, or contradicts the lab
├── GitError                     git refused, or the repository is not what we need
│   └── BranchMoved              the study's branch is not where the ledger left it
├── LedgerError                  the ledger cannot be read or written
├── ConstantError                a constant of a script is not there, or not a literal
├── ProposerError                a proposer is unknown, unavailable, or has nothing left to try
├── StrategyError                a strategy is unknown
├── NoRoom                       too little disk, or a GPU that is not free; time may mend it
├── ExecutorError                a place to run commands cannot be had
├── ReportError                  a picture or page cannot be made
├── SwarmError                   a hub refuses what a study needs of it
├── VerifyError                  there is nothing to check, or a check has no number
├── RunFailed                    the lab itself does not run (its baseline), exit code 1
└── EndAsked                     a person wants an end, and the run under way is over
"""


class AutoResearchError(Exception):
    """Says what was seen, what is allowed, and what to do next."""

    exit_code = 2


class TaskError(AutoResearchError):
    """The lab's contract cannot be used as it stands."""


class GitError(AutoResearchError):
    """git refused, or the repository is not what we need."""


class BranchMoved(GitError):
    """The study's branch is not where the ledger left it."""


class LedgerError(AutoResearchError):
    """The ledger cannot be read or written."""


class ProposerError(AutoResearchError):
    """A proposer is unknown, unavailable, or has nothing left to try."""


class StrategyError(AutoResearchError):
    """A strategy is unknown."""


class ExecutorError(AutoResearchError):
    """A place to run commands cannot be had."""


class NoRoom(AutoResearchError):
    """Too little disk, or a GPU that is not free; time may mend it."""


class ReportError(AutoResearchError):
    """A picture or page cannot be made."""


class SwarmError(AutoResearchError):
    """A hub refuses what a study needs of it; the message is the hub's own."""


class VerifyError(AutoResearchError):
    """There is nothing to check, or what was run to check it has no number."""


class RunFailed(AutoResearchError):
    """The lab itself does not run, so there is nothing to improve on."""

    exit_code = 1


class EndAsked(AutoResearchError):
    """A person asked for an end, and the run that was under way is over."""
