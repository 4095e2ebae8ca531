"""The quantities that configs speak of, with the bounds that every one of their kind has.

A greatest value is far beyond any use and keeps a slip of the pen from asking for memory or time without end.
"""

from typing import Annotated, Literal

from jax_tda.core.bounds import Bound, Expression, Items, Text

# More than any corpus holds; such a number is only ever compared with what is there.
MOST_EXAMPLES = 2**40
# What one step or one file may hold.
MOST_AT_ONCE = 2**20

Path = Annotated[str, Text(r"[^\0\n\r]*", "without line ends, a path")]
Name = Annotated[str, Text(r"[^\W_][\w .@=,+()-]{0,199}", "of letters, digits and _ . @ = , + - that can name a file")]
Module = Annotated[str, Text(r"[^\W\d]\w*(\.[^\W\d]\w*)*", "that names a Python module")]
Split = Annotated[str, Text(r"[^\0\n\r]+", "that is not empty")]
Pattern = Annotated[str, Text(r".+", "that is not empty and"), Expression()]
Patterns = Annotated[tuple[Pattern, ...], Items()]
Dtype = Literal["float32", "bfloat16"]

Seed = Annotated[int, Bound(0, 2**63 - 1)]
Seeds = Annotated[tuple[Seed, ...], Items(1, 1000, different=True)]
Documents = Annotated[int, Bound(1, MOST_EXAMPLES, unit="documents")]
DocumentsOrAll = Annotated[int, Bound(0, MOST_EXAMPLES, unit="documents", meaning="0 for all")]
Queries = Annotated[int, Bound(1, MOST_EXAMPLES, unit="queries")]
ExamplesOrAll = Annotated[int, Bound(0, MOST_EXAMPLES, unit="examples", meaning="0 for all")]
ExamplesAtOnce = Annotated[int, Bound(1, MOST_AT_ONCE, unit="examples")]
QueriesAtOnce = Annotated[int, Bound(1, MOST_AT_ONCE, unit="queries")]
ShardRows = Annotated[int, Bound(1, MOST_AT_ONCE, unit="examples")]
TokensAtOnce = Annotated[int, Bound(1, 2**28, unit="tokens")]
Context = Annotated[int, Bound(2, 2**24, unit="tokens")]
VocabularySize = Annotated[int, Bound(1, 2**24, unit="tokens")]
Steps = Annotated[int, Bound(1, 10**9, unit="steps")]
StepsOrNone = Annotated[int, Bound(0, 10**9, unit="steps", meaning="0 for never")]
Buckets = Annotated[int, Bound(1, 64, unit="lengths")]
ProjectedSize = Annotated[int, Bound(1, 2**14)]
Component = Annotated[int, Bound(0, 2**40, meaning="0 for the share component_fraction")]
TopK = Annotated[int, Bound(1, MOST_AT_ONCE, unit="passages of each end")]
Layers = Annotated[int, Bound(1, 4096, unit="layers")]
Width = Annotated[int, Bound(1, MOST_AT_ONCE)]
Heads = Annotated[int, Bound(1, 2**14, unit="heads")]

# A number that multiplies or divides others in float32 has room to do so.
Positive = Annotated[float, Bound(above=0, at_most=1e30)]
NotNegative = Annotated[float, Bound(0, 1e30)]
Fraction = Annotated[float, Bound(above=0, at_most=1)]
Share = Annotated[float, Bound(0, 1)]
Number = Annotated[float, Bound(-1e30, 1e30)]
Decay = Annotated[float, Bound(at_least=0, below=1)]
Damping = Annotated[float, Bound(0, 1e6, unit="each block's mean eigenvalue")]
QueryWeight = Annotated[float, Bound(at_least=-1e6, at_most=1, meaning="a share from 0 to 1, or negative for the rule")]
