import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.units import MIB
from conductor.domain.workload import Limits
from conductor.fleet.confinement import CannotConfine, ConfinementPolicy, carve, describe
from conductor.fleet.ports import MachineFacts

STRICT = ConfinementPolicy()
EVERYTHING = MachineFacts(namespaces="root", seccomp=True, controllers=frozenset({"memory", "pids", "cpu"}), root=True)

some_facts = st.builds(
    MachineFacts,
    namespaces=st.sampled_from(["root", "user", ""]),
    seccomp=st.booleans(),
    controllers=st.frozensets(st.sampled_from(["memory", "pids", "cpu"])),
    root=st.booleans(),
)


@pytest.mark.parametrize(
    ("facts", "network", "name"),
    [
        (EVERYTHING, False, "cgroup+pidns+netns"),
        (EVERYTHING, True, "cgroup+pidns+network-open"),
        (MachineFacts(seccomp=True), False, "rlimit+seccomp"),
        (
            MachineFacts(namespaces="user", controllers=frozenset({"memory"})),
            False,
            "cgroup(memory)+rlimit+pidns+netns",
        ),
    ],
)
def test_the_strongest_means_are_chosen_and_named(facts: MachineFacts, network: bool, name: str) -> None:
    assert carve(Limits(network=network), facts=facts, policy=STRICT).name == name


def test_a_network_that_cannot_be_closed_is_refused_unless_the_policy_accepts_it() -> None:
    nothing = MachineFacts()

    with pytest.raises(CannotConfine, match="no network"):
        carve(Limits(), facts=nothing, policy=STRICT)

    accepted = carve(Limits(), facts=nothing, policy=ConfinementPolicy(allow_unguarded_network=True))
    assert accepted.network == "unguarded"
    assert "could not be closed" in describe(accepted)


@given(facts=some_facts, network=st.booleans(), memory=st.integers(1, 2**40))
def test_every_slice_bounds_memory_and_opens_the_network_only_on_request(
    facts: MachineFacts, network: bool, memory: int
) -> None:
    limits = Limits(memory_bytes=memory, network=network)
    try:
        carved = carve(limits, facts=facts, policy=STRICT)
    except CannotConfine:
        assert not network
        assert not facts.namespaces
        assert not facts.seccomp
        return

    assert ("memory" in carved.controllers) != (carved.address_space_bytes == memory)
    assert (carved.network == "open") == network


def test_a_slice_is_told_in_words_with_its_numbers() -> None:
    limits = Limits(memory_bytes=512 * MIB, wall_time_s=90, cpu_time_s=30, output_bytes=MIB, processes=7)

    assert describe(carve(limits, facts=EVERYTHING, policy=STRICT)) == (
        "all its processes together may use 512.0 MiB of memory; it may have 7 processes, run for 1 min 30 s, "
        "use 30.0 s of processor time and print 1.0 MiB; it has no network but its own loopback"
    )
