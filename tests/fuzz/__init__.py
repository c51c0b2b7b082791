"""Whatever reads what others wrote, given what nobody would write.

`targets` has one function per reader, headed by its invariant; `seeds` where each begins and what was once found.
Three ways to run them: mutated seeds with the other tests, some hundred of each (TORTURE=1 or FUZZ_EXAMPLES: more);
`python -m tests.fuzz TARGET`, guided by coverage through atheris; and hypothesis in `test_rewrite`.
"""

import os

FULL = os.environ.get("TORTURE") == "1"
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20000" if FULL else "150"))
