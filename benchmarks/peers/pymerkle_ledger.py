"""pymerkle: a tree in SQLite that is appended to in batches, or a tree in memory that makes inclusion proofs.

`append FOLDER ENTRIES BATCH` commits each batch with SQLite's default durability (a synced rollback journal); nothing is
signed. `prove ENTRIES PROOFS SEED` keeps the whole tree in memory; the time of building it is not counted.
"""

import json
import random
import sys
import time
from pathlib import Path

from pymerkle import InmemoryTree, SqliteTree, verify_inclusion

ENTRY_BYTES = 780  # as long as one of ours


def append(folder: str, entries: int, batch: int) -> float:
    """Entries per second."""
    data = [number.to_bytes(8, "big") * (ENTRY_BYTES // 8) for number in range(entries)]
    with SqliteTree(str(Path(folder) / "tree.db")) as tree:
        began = time.perf_counter()
        for start in range(0, entries, batch):
            tree.append_entries(data[start : start + batch])
            tree.get_root()
        return entries / (time.perf_counter() - began)


def prove(entries: int, proofs: int, seed: int) -> list[float]:
    """Seconds of each proof, in the order in which they were made."""
    tree = InmemoryTree()
    for number in range(entries):
        tree.append_entry(number.to_bytes(8, "big"))
    choose, times = random.Random(seed), []
    for _ in range(proofs):
        index = choose.randint(1, entries)
        began = time.perf_counter()
        proof = tree.prove_inclusion(index, entries)
        times.append(time.perf_counter() - began)
    verify_inclusion(tree.get_leaf(index), tree.get_root(), proof, index=index, size=entries)
    return times


if __name__ == "__main__":
    if sys.argv[1] == "append":
        print(json.dumps(append(sys.argv[2], *map(int, sys.argv[3:]))), flush=True)
    else:
        print(json.dumps(prove(*map(int, sys.argv[2:]))), flush=True)
