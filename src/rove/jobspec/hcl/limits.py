"""What this language reader refuses to do for anyone, in one place.

Each limit turns a hostile input into a positioned error instead of a hang, a full memory or a deep stack.
"""

SOURCE_BYTES_MAX = 4 * 1024 * 1024
NESTING_MAX = 60  # brackets, blocks and templates inside each other
PARTS_MAX = 100_000  # terms, arguments, blocks and interpolations in one file
SOURCE_BLOCKS_MAX = 25_000  # blocks in one file
JSON_VALUES_MAX = 100_000  # values in one JSON file
OPERATORS_MAX = 100  # binary operators or chained conditionals in one expression, without brackets
TRAVERSAL_MAX = 60  # accesses in one traversal
SEQUENCES_MAX = 20_000  # interpolations and directives in one template
ERRORS_MAX = 50  # after this many errors in one file the rest is noise
STEPS_MAX = 150_000  # what evaluation of one file may do; a step takes a few microseconds
TEXT_MAX = 4 * 1024 * 1024  # weight of one value that evaluation makes: characters, and 16 for each element
ELEMENT_WEIGHT = 16
ITEMS_MAX = 100_000  # elements in one collection that evaluation makes
TOTAL_MAX = 32 * 1024 * 1024  # weight of everything that evaluation of one file makes
BLOCKS_MAX = 20_000  # blocks that `dynamic` makes in one file
RANGE_MAX = 1024  # elements `range` gives, as in cty
FORMAT_WIDTH_MAX = 1024  # width or precision in a format verb
NUMBER_EXPONENT_MAX = 1_000  # decimal exponent of a number literal
NUMBER_DIGITS_MAX = 4_000  # digits of a number literal
NAMES_COMPARED_MAX = 200  # among more names none is looked for that is like a mistyped one
FRACTION_BITS = 512  # of a number with a fraction
NUMBER_BITS_MAX = 20_000  # binary exponent of a number that evaluation makes
