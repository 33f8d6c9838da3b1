"""The errors of Metroline: one base class, with the exit code of the command, and the errors of `routing`."""

from __future__ import annotations


class MetrolineError(Exception):
    """Base class of every error of this project. Its text is one line that says what is wrong and what to do."""

    exit_code = 1
    """Exit code of a command that ends with this error: the work failed."""


class UsageError(MetrolineError):
    """Base class of errors that the user has to correct in a command, a setting or a line before anything can run."""

    exit_code = 2


class MalformedEnvelope(MetrolineError):
    """Raised when a message on the bus is not an envelope in a supported format; `raw` holds its bytes."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(reason)
        self.raw = raw


class MalformedRecord(MetrolineError):
    """Raised when a line is not a record, that is, not a JSON object; `raw` holds its bytes."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(reason)
        self.raw = raw


class SchemaMismatch(MetrolineError):
    """Raised when a record does not fit the type that a service declares; `problem` begins with the field's path."""

    def __init__(self, type_name: str, problem: str) -> None:
        super().__init__(f"{type_name}: {problem}")
        self.type_name = type_name
        self.problem = problem


class InvalidRules(MetrolineError):
    """Raised when a rules table is not valid; `problems` lists every problem with its file and line.

    A problem may have further lines, which show the place. The text of the error, which is one line, leaves them out.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(_first_lines(problems))
        self.problems = problems


class ConditionError(MetrolineError):
    """Raised when a condition does not compile or cannot be evaluated for a record."""


class ConditionSyntaxError(ConditionError):
    """Raised when a condition is not valid CEL, or can never work; `line` and `column`, from 1 on, are the place."""

    def __init__(
        self, reason: str, condition: str, line: int, column: int, problem: str = "the condition does not compile:"
    ) -> None:
        super().__init__(f"{problem} line {line}, column {column}: {reason}")
        self.condition = condition
        self.line = line
        self.column = column


class UnknownStrategy(UsageError):
    """Raised when there is no strategy with the given name."""


class InvalidLine(UsageError):
    """Raised when a line's folder, services, records or lookups cannot be used."""


class InvalidLineOptions(InvalidLine):
    """Raised when `line.toml` is not valid; `problems` lists every problem with its file and line.

    Its problems and its text are as those of `InvalidRules`.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(_first_lines(problems))
        self.problems = problems


class InvalidCases(InvalidLine):
    """Raised when the test cases of a line are not valid; `problems` lists every problem with its file and line.

    Its problems and its text are as those of `InvalidRules`.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(_first_lines(problems))
        self.problems = problems


def _first_lines(problems: tuple[str, ...]) -> str:
    return "; ".join(problem.partition("\n")[0] for problem in problems)
