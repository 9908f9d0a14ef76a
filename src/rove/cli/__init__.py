"""The command line: `rove`. Nouns, verbs, flags and exit codes are those of Nomad's."""
