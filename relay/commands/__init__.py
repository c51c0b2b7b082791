"""The commands. One module each, of the command's name with "-" as "_", with:

HELP: str                                   one line, for `trackrelay --help`
def arguments(parser: argparse.ArgumentParser) -> None
def run(args: argparse.Namespace) -> int    the exit code: 0 done, 1 a check that failed, 2 bad usage or configuration

A module imports at its top only what `arguments` needs; what `run` needs it imports there, so that no command waits
for another's imports. `args.config` is the path given by --config or None (see `relay.config.find`).
"""
