"""One kind of error for everything a user can mend: what, got, expected, remedy."""


class InputError(ValueError):
    """Says what is wrong with an input, before any compilation or write.

    Args:
      what: the sentence that names the problem and the thing it concerns (file, line, parameter).
      got: what was found.
      expected: what would have been right.
      remedy: what the user can do now.
    """

    # Whether every process of a run raises this very error, so that none waits for another.
    agreed = False

    def __init__(self, what: str, *, got: object, expected: object, remedy: str):
        self.what, self.got, self.expected, self.remedy = what, got, expected, remedy
        super().__init__(f"{what}\n  got:      {got}\n  expected: {expected}\n  remedy:   {remedy}")
