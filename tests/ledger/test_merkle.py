import base64
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.building import vector

from conductor.ledger.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_holds,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_count,
    node_hash,
    node_position,
    root_from_inclusion,
)


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 2.1.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node_hash(naive_root(leaves[:half]), naive_root(leaves[half:]))


class StoredTree:
    """Leaves 0, 1, 2, … with all nodes stored in the order in which they become complete."""

    def __init__(self, size: int) -> None:
        self.leaves = [number.to_bytes(4, "big") for number in range(size)]
        self.nodes = CompactRange().extend(map(leaf_hash, self.leaves))

    def node(self, level: int, n: int) -> bytes:
        return self.nodes[node_position(level, n)]


TREE = StoredTree(300)
sizes = st.integers(0, 300)


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, 300))
    return draw(st.integers(0, size - 1)), size


@st.composite
def two_sizes(draw: st.DrawFn) -> tuple[int, int]:
    new = draw(sizes)
    return draw(st.integers(0, new)), new


def unbase64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def test_published_inclusion_proofs_are_judged_as_published() -> None:
    cases = json.loads(vector("tlog/rfc6962-inclusion.json").read_text())
    assert len(cases) == 98

    for name, case in cases.items():
        proof = [unbase64(hashed) for hashed in case["proof"] or []]
        root = root_from_inclusion(case["leafIdx"], case["treeSize"], unbase64(case["leafHash"]), proof)
        assert (root is not None and root == unbase64(case["root"])) is not case["wantErr"], name


def test_published_consistency_proofs_are_judged_as_published_but_size_zero_is_the_beginning_of_any_ledger() -> None:
    cases = json.loads(vector("tlog/rfc6962-consistency.json").read_text())
    assert len(cases) == 98

    differing = set()
    for name, case in cases.items():
        roots = unbase64(case["root1"]), unbase64(case["root2"])
        proof = [unbase64(hashed) for hashed in case["proof"] or []]
        if consistency_holds(case["size1"], case["size2"], *roots, proof) is case["wantErr"]:
            differing.add(name)

    # The Go library refuses size 0; tlog-witness requires it to be taken, which is what we do.
    assert differing == {"consistency/additional/size1-is-zero-and-size2-is-not-zero.json"}


def test_the_reference_tree_has_its_published_hashes_and_roots() -> None:
    reference = json.loads(vector("tlog/rfc6962-reference-tree.json").read_text())
    leaves = [bytes.fromhex(text) for text in reference["leaf_inputs_hex"]]

    assert [leaf_hash(leaf).hex() for leaf in leaves] == reference["leaf_hashes_hex"]
    for size in range(9):
        edge = CompactRange()
        edge.extend(map(leaf_hash, leaves[:size]))
        assert edge.root().hex() == reference["root_by_size_hex"][str(size)]


def test_the_roots_of_rfc_6962_hold_without_any_vector_at_hand() -> None:
    edge = CompactRange()
    assert edge.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    edge.extend([leaf_hash(b""), leaf_hash(b"\x00"), leaf_hash(b"\x10")])
    assert edge.root().hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"


@given(sizes)
def test_the_root_is_that_of_the_recursive_definition(size: int) -> None:
    assert CompactRange.read(size, TREE.node).root() == naive_root(TREE.leaves[:size])


@given(st.lists(st.integers(0, 40), max_size=8))
def test_growing_in_any_steps_stores_the_same_nodes_in_the_same_places(steps: list[int]) -> None:
    edge, nodes, leaves = CompactRange(), list[bytes](), list(map(leaf_hash, TREE.leaves))
    for step in steps:
        nodes += edge.extend(leaves[edge.size : edge.size + step])
        assert len(nodes) == node_count(edge.size)

    assert nodes == TREE.nodes[: node_count(edge.size)]


@given(sizes, st.integers(0, 9), st.integers(0, 20))
def test_a_copy_grows_on_its_own(size: int, more: int, other: int) -> None:
    edge = CompactRange.read(size, TREE.node)
    root = edge.root()

    edge.copy().extend([bytes([n]) * 32 for n in range(more)])

    assert (edge.size, edge.root()) == (size, root)


@given(places())
def test_every_inclusion_proof_leads_to_the_root(place: tuple[int, int]) -> None:
    index, size = place

    proof = inclusion_proof(index, size, TREE.node)

    assert root_from_inclusion(index, size, leaf_hash(TREE.leaves[index]), proof) == naive_root(TREE.leaves[:size])


@given(places(), st.data())
def test_a_changed_inclusion_proof_leads_elsewhere(place: tuple[int, int], data: st.DataObject) -> None:
    index, size = place
    root = naive_root(TREE.leaves[:size])
    hashed = leaf_hash(TREE.leaves[index])
    proof = inclusion_proof(index, size, TREE.node)

    changed = data.draw(changes_of(proof))
    assert root_from_inclusion(index, size, hashed, changed) != root
    assert root_from_inclusion(index, size, flipped(hashed, data), proof) != root
    assert root_from_inclusion(data.draw(st.integers(0, 300).filter(lambda n: n != index)), size, hashed, proof) != root


@given(two_sizes())
def test_every_consistency_proof_holds(pair: tuple[int, int]) -> None:
    old, new = pair

    proof = consistency_proof(old, new, TREE.node)

    assert consistency_holds(old, new, naive_root(TREE.leaves[:old]), naive_root(TREE.leaves[:new]), proof)


@given(two_sizes(), st.data())
def test_a_changed_consistency_proof_fails(pair: tuple[int, int], data: st.DataObject) -> None:
    old, new = pair
    roots = naive_root(TREE.leaves[:old]), naive_root(TREE.leaves[:new])
    proof = consistency_proof(old, new, TREE.node)

    assert not consistency_holds(old, new, *roots, data.draw(changes_of(proof)))
    assert not consistency_holds(old, new, flipped(roots[0], data), roots[1], proof)
    if old:  # anything begins with nothing
        assert not consistency_holds(old, new, roots[0], flipped(roots[1], data), proof)


def test_proofs_beyond_the_tree_are_refused() -> None:
    for index, size in [(-1, 5), (5, 5), (0, 0)]:
        with pytest.raises(ValueError, match="is not in a tree"):
            inclusion_proof(index, size, TREE.node)
        assert root_from_inclusion(index, size, EMPTY_ROOT, []) is None
    for old, new in [(-1, 5), (6, 5)]:
        with pytest.raises(ValueError, match="cannot extend"):
            consistency_proof(old, new, TREE.node)
        assert not consistency_holds(old, new, EMPTY_ROOT, EMPTY_ROOT, [])


def changes_of(proof: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    """The proof with one hash more, one fewer, two swapped or one bit flipped."""
    extra = st.tuples(st.integers(0, len(proof)), st.binary(min_size=32, max_size=32))
    changes = extra.map(lambda at: [*proof[: at[0]], at[1], *proof[at[0] :]])
    if not proof:
        return changes
    places = st.integers(0, len(proof) - 1)
    changes |= places.map(lambda at: proof[:at] + proof[at + 1 :])
    changes |= st.tuples(places, st.integers(0, 255)).map(
        lambda at: [flip(hashed, at[1]) if n == at[0] else hashed for n, hashed in enumerate(proof)]
    )
    return changes


def flipped(hashed: bytes, data: st.DataObject) -> bytes:
    return flip(hashed, data.draw(st.integers(0, 255)))


def flip(hashed: bytes, bit: int) -> bytes:
    return (int.from_bytes(hashed, "big") ^ (1 << bit)).to_bytes(32, "big")
