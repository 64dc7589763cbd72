"""Joins the parts of a dataset that shard.index and shard.count made, byte for byte as one run would have made it.

python scripts/merge_shards.py data/NAME_part*of8 [--output data/NAME] [--delete]
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.errors import NSMError, VIMHError  # noqa: E402
from src.programs.output import progress  # noqa: E402
from src.recipe import differences  # noqa: E402
from src.vimh.format import SPLITS  # noqa: E402
from src.vimh.info import DatasetInfo  # noqa: E402
from src.vimh.reader import VIMHReader  # noqa: E402
from src.vimh.writer import VIMHWriter  # noqa: E402


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
    parts = sorted((VIMHReader(path) for path in part_dirs), key=_index)
    check_parts(parts)
    first = parts[0].data_dir
    output = output or first.with_name(first.name.removesuffix(f"_part0of{len(parts)}"))
    info = merged_info([part.info for part in parts], output.name)
    with (
        progress(info.train_samples + info.test_samples, "Merging", "samples") as advance,
        VIMHWriter(output, info, pickle="train_batch" in parts[0].info.files) as writer,
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
    """Refuse parts that do not make exactly one dataset."""
    first = parts[0]
    for part in parts:
        if part.info.shard is None or part.info.generator is None:
            raise VIMHError(
                f"{part.data_dir}: is not a part of a dataset. Parts are made with shard.index and shard.count."
            )
        lines = differences(first.info.generator, part.info.generator, "generator")
        if lines or part.info.shard.count != first.info.shard.count:
            lines = lines or [f"shard.count: {first.info.shard.count} there, {part.info.shard.count} here"]
            raise VIMHError(
                f"{part.data_dir}: is a part of another dataset than {first.data_dir}:\n  " + "\n  ".join(lines)
            )
    found, wanted = [_index(part) for part in parts], list(range(first.info.shard.count))
    if found != wanted:
        raise VIMHError(f"{first.data_dir.parent}: parts {found} were given, but each of {wanted} is needed once.")


def merged_info(infos: Sequence[DatasetInfo], name: str) -> DatasetInfo:
    """Description of the whole dataset."""
    n_train, n_test = sum(info.train_samples for info in infos), sum(info.test_samples for info in infos)
    counts = {
        "train_samples": n_train,
        "test_samples": n_test,
        "total_samples": n_train + n_test,
        "n_samples": n_train + n_test,
    }
    return infos[0].model_copy(update={"dataset_name": name, "shard": None, "files": {}, **counts})


def _index(part: VIMHReader) -> int:
    return part.info.shard.index if part.info.shard else -1


def main() -> int:
    """Merge the parts that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", type=Path, nargs="+", metavar="PART")
    parser.add_argument(
        "--output", type=Path, help="the dataset's directory; default: the parts' name without its ending"
    )
    parser.add_argument("--delete", action="store_true", help="delete the parts when the dataset is whole")
    arguments = parser.parse_args()
    try:
        output = merge(arguments.parts, arguments.output)
    except NSMError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.delete:
        for part in arguments.parts:
            shutil.rmtree(part)
    print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
