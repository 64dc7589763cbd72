"""Joins the parts of a dataset that shard.index and shard.count made, byte for byte as one run would have made it.

python scripts/merge_shards.py data/NAME_part*of8 [--output data/NAME] [--delete]

If it is stopped, at any moment, the same command goes on.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.errors import NSMError, VIMHError  # noqa: E402
from src.programs.command_line import OptionParser  # noqa: E402
from src.programs.output import progress  # noqa: E402
from src.recipe import differences  # noqa: E402
from src.text import complain, prepare_streams, say  # noqa: E402
from src.vimh.format import SPLITS  # noqa: E402
from src.vimh.info import DatasetInfo  # noqa: E402
from src.vimh.reader import VIMHReader, read_info  # noqa: E402
from src.vimh.writer import VIMHWriter, delete_dataset, settle  # noqa: E402

PART = re.compile(r"_part[^/]*of\d+$")  # of a directory's name; also as a pattern that matched nothing any more


def merge(part_dirs: Sequence[Path], output: Path | None = None) -> Path:
    """Join the parts of one dataset.

    Args:
        part_dirs: All of them, in any order.
        output: The dataset's directory to be; None: beside the parts, under their name without its ending.

    Returns:
        The dataset's directory.

    Raises:
        VIMHError: If a part is damaged, missing, there twice, or of another dataset.
    """
    parts = [VIMHReader(path) for path in part_dirs]
    for part in parts:
        if part.info.shard is None or part.info.generator is None:
            raise VIMHError(
                f"{part.data_dir}: is not a part of a dataset. Parts are made with shard.index and shard.count."
            )
    parts.sort(key=lambda part: part.info.shard.index)
    check_parts(parts)
    first = parts[0]
    output = output or first.data_dir.with_name(first.data_dir.name.removesuffix(f"_part0of{len(parts)}"))
    n_train, n_test = (sum(len(part.split(split)) for part in parts) for split in SPLITS)
    counts = {"train_samples": n_train, "test_samples": n_test}
    counts |= dict.fromkeys(("total_samples", "n_samples"), n_train + n_test)
    info = first.info.model_copy(update={"dataset_name": output.name, "shard": None, "files": {}, **counts})
    with (
        progress(info.total_samples, "Merging", "samples") as advance,
        VIMHWriter(output, info, pickle="train_batch" in first.info.files) as writer,
    ):
        for part in parts:
            part.validate()
            for split in SPLITS:
                for chunk in part.split(split).chunks():
                    batch = part.split(split).read(chunk)
                    writer.write(split, batch.image, batch.code, batch.spec_range, batch.value)
                    advance(len(batch.code))
    return output


def check_parts(parts: Sequence[VIMHReader]) -> None:
    """Refuse parts, in the order of their indices, that do not make exactly one dataset."""
    first = parts[0]
    count = first.info.shard.count
    for part in parts:
        lines = differences(first.info.generator, part.info.generator, "generator")
        if part.info.shard.count != count:
            lines = lines or [f"shard.count: {count} there, {part.info.shard.count} here"]
        if lines:
            raise VIMHError(
                f"{part.data_dir}: is a part of another dataset than {first.data_dir}:\n  " + "\n  ".join(lines)
            )
    found, wanted = [part.info.shard.index for part in parts], list(range(count))
    if found != wanted:
        raise VIMHError(f"{first.data_dir.parent}: parts {found} were given, but each of {wanted} is needed once.")


def merged_before(part_dirs: Sequence[Path], output: Path | None) -> Path | None:
    """The dataset of an earlier call, which may have been stopped once the dataset had its name.

    Args:
        part_dirs: As they were given then; some may be deleted since, or half of one.
        output: As in `merge`.

    Returns:
        None if there is no dataset yet.

    Raises:
        VIMHError: If the dataset is damaged, or not the one that these parts make.
    """
    output = output or part_dirs[0].with_name(PART.sub("", part_dirs[0].name))
    settle(output)
    if output in part_dirs or not output.exists():
        return None
    reader = VIMHReader(output)
    for part in part_dirs:
        if not part.is_dir() or not any(part.iterdir()):
            continue
        if lines := foreign_to(reader.info, read_info(part)):
            raise VIMHError(f"{output}: exists already, and is not made of {part}:\n  " + "\n  ".join(lines))
    reader.validate()
    return output


def foreign_to(whole: DatasetInfo, part: DatasetInfo) -> list[str]:
    """In what a dataset is another one than a part belongs to, a line a key."""
    if part.shard is None or whole.generator is None:
        return ["generator: one of the two is no dataset or part of this generator"]
    lines = differences(whole.generator, part.generator, "generator")
    return lines or (["shard: the dataset is a part itself"] if whole.shard else [])


def main() -> int:
    """Merge the parts that the command line names."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", type=Path, nargs="+", metavar="PART")
    default = "the parts' name without its ending"
    parser.add_argument("--output", type=Path, help=f"the dataset's directory; default: {default}")
    parser.add_argument("--delete", action="store_true", help="delete the parts when the dataset is whole")
    arguments = parser.parse_args()
    try:
        output = merged_before(arguments.parts, arguments.output)
        if output:
            say(f"Kept: {output} was made of these parts already.")
        else:
            output = merge(arguments.parts, arguments.output)
        for part in arguments.parts if arguments.delete else ():
            if part.is_dir():
                delete_dataset(part)
    except NSMError as error:
        complain(error)
        return 1
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}. Correct this, and run the same command again.")
        return 1
    say(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
