"""A request that is not served: a status, and words that say what must hold and what to do."""


class Refusal(Exception):  # noqa: N818, it is an answer, not a failure
    """Raised anywhere while a request is served; becomes `{"error": words}`.

    Attributes:
        status: Of HTTP.
        words: For people.
        retry_after: Seconds after which to try again, or None.
    """

    def __init__(self, status: int, words: str, retry_after: int | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.retry_after = retry_after


def not_found(what: str) -> Refusal:
    """The same answer for what never was, what is forgotten, and what belongs to somebody else."""
    return Refusal(404, f"There is no such {what}, or it is not yours, or it was forgotten; upload it again.")


def too_busy(words: str, retry_after: int = 2) -> Refusal:
    """The models, or the decoders, have too much to do."""
    return Refusal(503, words, retry_after)
