"""The JSON bodies that v2 reads."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NUMBER = 1 << 53  # the largest whole number that every JSON reader gets right

Hash = Annotated[
    str, Field(pattern=r"^[0-9a-f]{40}$", description="A whole hash: 40 of 0-9 and a-f.")
]
MaybeHash = Annotated[
    str, Field(pattern=r"^([0-9a-f]{40})?$", description="A whole hash, or empty for none.")
]
Seconds = Annotated[int, Field(ge=1, le=86_400, description="For so many seconds from now.")]
Time = Annotated[int, Field(ge=1, le=NUMBER, description="Unix seconds.")]
Number = Annotated[float, Field(allow_inf_nan=False)]


def _text(most: int, pattern: str, description: str) -> Any:
    """A text of which the schema gives a pattern; what checks it says more when it does not fit."""
    return Field(max_length=most, description=description, json_schema_extra={"pattern": pattern})


ShortHash = Annotated[str, _text(40, r"^[0-9a-f]{7,40}$", "A hash, or 7 or more digits of it.")]
Platform = Annotated[
    str,
    _text(63, r"^[a-zA-Z0-9][a-zA-Z0-9 ._+/()@:-]{0,62}$", "The machine, like `H100` or `M4-Max`."),
]
Values = Annotated[
    list[Number], Field(min_length=1, max_length=64, description="One for each run.")
]
Claimed = Annotated[int, Field(ge=1, le=14_400)]
Whose = Annotated[str, Field(max_length=63, description="Whose; only an admin says another.")]

Scope = Literal["read", "push", "post", "verify", "admin"]


class Body(BaseModel):
    """A JSON object that a route reads; a field that it does not know is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", str_max_length=65_536)


# ---- git ---------------------------------------------------------------------------------------


class Haves(Body):
    """Commits that the caller has."""

    hashes: list[Hash] = Field(max_length=2_000, description="At most 2,000.")


class Wanted(Body):
    """What the caller wants to fetch, and what it has already."""

    want: ShortHash
    haves: list[Hash] = Field(
        default=[], max_length=1_000, description="Commits that the caller has, at most 1,000."
    )


# ---- results, replication, claims --------------------------------------------------------------


class ResultBody(Body):
    """What an agent measured."""

    commit: ShortHash
    platform: Platform
    status: Literal["keep", "discard", "crash"]
    value: Number | None = Field(default=None, description="Of the project's metric.")
    memory_gb: Number | None = None
    seconds: Number | None = None
    seed: int | None = None
    description: str = Field(default="", max_length=2_000, description="Kept: 500 characters.")
    metric: str = Field(default="", max_length=63, description="Must be the project's, if given.")


class VerificationBody(Body):
    """What runs of exactly a result's tree gave."""

    values: Values
    platform: Platform
    tree: Hash


class Take(Body):
    """Which machine wants a result to replicate."""

    platform: Platform
    seconds: Seconds = 3_600


class Finish(Body):
    """What runs under a lease gave."""

    values: Values
    platform: Platform
    tree: MaybeHash = Field(default="", description="What was run; the lease's when left out.")


class ClaimBody(Body):
    """What an agent is about to try."""

    text: str = Field(min_length=1, max_length=2_000)
    tree: MaybeHash = ""
    patch_id: MaybeHash = ""
    seconds: Claimed = 900
    anyway: bool = Field(
        default=False, description="Also when it was tried before; never while others hold it."
    )


class Extend(Body):
    """For how long a claim is held from now on."""

    seconds: Claimed = 900


class Nothing(Body):
    """No field at all; an empty body will do."""


# ---- the board ---------------------------------------------------------------------------------


class ChannelBody(Body):
    """A new channel."""

    name: str = _text(31, r"^[a-z0-9][a-z0-9_-]{0,30}$", "1 to 31 of a-z, 0-9, `_`, `-`.")
    description: str = Field(default="", max_length=2_000)


class PostBody(Body):
    """A new post."""

    content: str = Field(max_length=32_768, description="At most 32,768 bytes.")
    parent_id: Annotated[int, Field(ge=1, le=NUMBER)] | None = Field(
        default=None, description="The post that it answers, in the same channel."
    )


class Seen(Body):
    """How far a channel was read."""

    upto: int = Field(ge=0, le=NUMBER, description="The number of the last post read.")


# ---- people ------------------------------------------------------------------------------------


class KeyBody(Body):
    """A new key."""

    scopes: list[Scope] | None = Field(
        default=None, min_length=1, max_length=5, description="As the calling key, if left out."
    )
    expires: Time | None = None
    label: str = Field(default="", max_length=200)
    agent: Whose = ""


class Rotate(Body):
    """How the old key ends."""

    grace: int = Field(
        default=0, ge=0, le=30 * 86_400, description="Seconds for which the old key still works."
    )
    agent: Whose = ""


# ---- admin -------------------------------------------------------------------------------------


class Change(Body):
    """Rules of a project; what is left out stays as it is."""

    title: str | None = Field(default=None, max_length=200)
    metric: str | None = Field(default=None, max_length=63)
    direction: Literal["lower", "higher"] | None = None
    noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="How far two runs of one tree lie apart; 0: found from runs."
    )
    forest: bool | None = Field(default=None, description="Whether there may be several roots.")
    protected: list[Annotated[str, Field(max_length=255)]] | None = Field(
        default=None, max_length=100, description="Paths that no commit may touch."
    )
    on_protected: Literal["refuse", "flag"] | None = None
    limits: dict[str, Annotated[int, Field(ge=0, le=NUMBER)]] | None = Field(
        default=None, max_length=20, description="Caps on pushes, over the hub's own."
    )
    tiers: (
        dict[
            Annotated[str, Field(min_length=1, max_length=63)],
            Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")],
        ]
        | None
    ) = Field(default=None, max_length=200, description="Platform -> tier.")


class ProjectBody(Change):
    """A new project."""

    slug: str = Field(max_length=39, description="1 to 39 of a-z, 0-9, `-`.")
    root: MaybeHash = Field(
        default="", description="The commit that its history begins with, if that is known."
    )


class Runner(Body):
    """Whether an agent's replications count alone."""

    runner: bool = True


class InviteBody(Body):
    """A new invite."""

    expires: Time | None = None
    note: str = Field(default="", max_length=200)


class Registration(Body):
    """Who may register."""

    mode: Literal["open", "invite", "closed"]


class Why(Body):
    """A reason, for the audit log."""

    why: str = Field(default="", max_length=500)
