"""What can go wrong on the path of a study."""

from __future__ import annotations

from collections.abc import Sequence


class PipelineError(Exception):
    """A study could not go on along its path."""


class TransitionNotAllowed(PipelineError):
    """A study cannot go from its status to the wanted one."""

    def __init__(self, before: str, after: str) -> None:
        super().__init__(f"a study cannot go from {before} to {after}")
        self.before = before
        self.after = after


class StudyNotFound(PipelineError):
    """No study has this id for this tenant."""


class NothingWaits(PipelineError):
    """The study does not wait for anything that a person could decide about."""

    def __init__(self, study_id: object) -> None:
        super().__init__(f"study {study_id} does not wait: nothing is arriving")


class QueueLost(PipelineError):
    """A worker cannot read its queues any more: the database went away."""


class StudyRefused(PipelineError):
    """The input is unfit: the study ends as rejected, with this code and sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class StudyFailed(PipelineError):
    """A step cannot be done however often it is tried: the study ends as failed, with code and sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class DeploymentRefused(PipelineError):
    """What a tenant runs of a model cannot be changed so; the sentence says why."""


class DestinationInvalid(PipelineError):
    """A destination cannot be saved with this value."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field = field


class DestinationInUse(PipelineError):
    """Results go there, by active routing rules or by what is set for peers; rules, peers: their names."""

    def __init__(self, name: str, rules: Sequence[str] = (), peers: Sequence[str] = ()) -> None:
        why = []
        if rules:
            why.append(
                f"the routing rules in force send results there ({', '.join(rules)})."
                " Put rules in force that do not name it, then remove it."
            )
        if peers:
            why.append(
                f"results of other peers go there ({', '.join(peers)}). Let them go elsewhere, then remove it."
            )
        super().__init__(f"{name} stays: {' And '.join(why)}")
        self.rules, self.peers = tuple(rules), tuple(peers)


class CommitmentNotReported(PipelineError):
    """The peer did not take the result of its storage commitment; the report is tried again."""


class PeerInvalid(PipelineError):
    """A peer cannot be set up as it is described. `field` names the value, the sentence what it must be."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field = field
        self.sentence = sentence


class PeerUnknown(PipelineError):
    """The tenant has no peer of this AE title."""


class NotCancellable(PipelineError):
    """The study has come too far, or has not come far enough, to be cancelled."""

    def __init__(self, study_id: object, status: object) -> None:
        super().__init__(
            f"study {study_id} is {status}: it can be cancelled between its assembly and its result"
        )


class NothingGivenUp(PipelineError):
    """No delivery of this study was given up, so there is nothing to send again."""


class SecretMissing(PipelineError):
    """A destination names a file that is not in the folder of secrets."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no file {name} in the folder of secrets")


class AuditServerInvalid(PipelineError):
    """A syslog server is given as tls://host:port or udp://host:port."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} is no syslog server: give tls://host:port or udp://host:port")


class PeerTableInvalid(PipelineError):
    """A table of peers cannot be read; each problem names its line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PriorsRuleInvalid(PipelineError):
    """The priors part of a routing rule cannot be used; the message says what is wrong with it."""


class NotPaused(PipelineError):
    """The product is not paused at this site."""

    def __init__(self, product: str, site: str) -> None:
        super().__init__(
            f"{product[:80]} is not paused {f'at {site[:64]}' if site else 'at all sites together'}"
        )


class BoundInvalid(PipelineError):
    """A bound of the health rules is unknown or makes no sense; the message says which."""


class NotReached(PipelineError):
    """A program that is told of results cannot be reached or does not take them; the message says why.

    is_refusal: it looked at the message and said no. retry_after_s: it asks not to come back earlier.
    """

    def __init__(self, words: str, *, is_refusal: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(words)
        self.is_refusal = is_refusal
        self.retry_after_s = retry_after_s


class SecretUnusable(PipelineError):
    """The file of a webhook's secret does not hold one to four lines whsec_… of 24 to 64 bytes."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the file {name} must hold one to four lines whsec_… of 24 to 64 bytes in Base64")


class MailServerInvalid(PipelineError):
    """The SMTP server of the settings cannot be used; the message says why."""


class MigrationBusy(PipelineError):
    """Another process migrates the database, for longer than was waited."""

    def __init__(self, waited_s: float) -> None:
        super().__init__(
            f"another process has been migrating the database for {waited_s:g} s: run `radmeter migrate` again, or "
            "look in pg_stat_activity which session holds the advisory lock"
        )


class MigrationFailed(PipelineError):
    """A migration could not be applied, and nothing of it remains."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"migration {name} was not applied: {reason}. Nothing of it remains, those before it stand; mend the cause "
            "and run `radmeter migrate` again"
        )


class HalfDoneMigration(PipelineError):
    """What a migration makes is there without a note that it was applied."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"migration {name} is half done: {reason}, and no note says that it was applied. Compare the tables with "
            f"its file: if all of it is there, run `radmeter migrate --mark {name}`; if not, restore the backup from "
            "before the upgrade"
        )


class SchemaTooNew(PipelineError):
    """The schema was migrated by a version that is too far ahead of this one."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the database's schema is too new for this version: {name} took away what it reads. Migrate and start "
            "with the version that did that, or a newer one"
        )


class RetentionPolicyInvalid(PipelineError):
    """A retention policy contradicts itself."""


class HoldUnclear(PipelineError):
    """A legal hold does not say what it holds, or why."""


class HoldNotFound(PipelineError):
    """No hold of this number is in force for this tenant."""
