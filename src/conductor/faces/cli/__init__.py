"""The command line: nouns with verbs, `--json` on every listing, errors with a remedy and an exit code."""
