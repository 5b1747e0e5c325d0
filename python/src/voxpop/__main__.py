"""python -m voxpop parquet IN.parquet... -o OUT.h5: Parquet votes as a comparisons/1 file."""

import argparse
import sys

import pandas as pd

from voxpop.errors import VoxpopError
from voxpop.votes import write_comparisons


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m voxpop", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("parquet", help="Parquet votes, a row each, as a comparisons/1 file")
    verb.add_argument("inputs", nargs="+", metavar="IN.parquet")
    verb.add_argument("-o", "--output", required=True, metavar="OUT.h5")
    for role in "left", "right", "preference":
        verb.add_argument("--" + role, default=role, metavar="COLUMN")
    for role in "annotator", "prompt", "timestamp":
        verb.add_argument("--" + role, metavar="COLUMN", help=f"default: {role}, where there is one")
    verb.add_argument("--map", metavar="VALUE=left|right|tie|GRADE,...")
    arguments = vars(parser.parse_args())
    inputs, output, meaning = arguments.pop("inputs"), arguments.pop("output"), arguments.pop("map")
    try:
        votes = pd.concat([pd.read_parquet(path) for path in inputs], ignore_index=True)
        pairs = {key: value for key, _, value in (one.rpartition("=") for one in meaning.split(","))} if meaning else None
        write_comparisons(votes, output, map=pairs, **arguments)
    except VoxpopError as error:
        print(f"voxpop: {', '.join(inputs)}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # pyarrow's errors of files that are not Parquet are among them, or ValueErrors
        print(f"voxpop: {error}", file=sys.stderr)
        return 4
    except ValueError as error:
        print(f"voxpop: {', '.join(inputs)}: {error}", file=sys.stderr)
        return 3
    print(f"{output}: {len(votes)} votes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
