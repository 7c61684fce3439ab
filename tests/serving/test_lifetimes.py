"""Loading on demand, sharing, idle time-outs, refusals, failures, cancellation and the end, in simulated time."""

import asyncio
from itertools import pairwise

import pytest
from tests.serving.simulated import SimulatedMachine, SimulatedModel, row, serving, simulate

from conductor.domain.errors import Exhausted, ModelError, NotFound, Overloaded
from conductor.domain.generation import Generation
from conductor.domain.model import Category, ModelState, Precision
from conductor.serving.lifetimes.residence import Keeping
from conductor.serving.registry import StateChange

GB = 10**9
CHAT, CODE, MATH = Category("chat"), Category("code"), Category("math")


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_a_model_is_loaded_at_its_first_use_and_stays_for_the_next() -> None:
    async def story() -> None:
        async with serving(
            SimulatedMachine(cpu=8 * GB), {"llama": SimulatedModel(4 * GB)}, [row("chat", "llama")]
        ) as it:
            await asyncio.sleep(60)
            assert it.state("llama") == "absent"

            assert await it.use("chat") == "word"
            assert await it.use("chat") == "word"

            assert it.backend.log == ["load llama"]
            assert now_s() == pytest.approx(60 + 2 + 1 + 1)

    simulate(story())


def test_what_stays_loaded_is_loaded_at_the_start_and_not_unloaded_when_idle() -> None:
    async def story() -> None:
        rows = [row("chat", "llama", stays=True), row("code", "coder")]
        models = {"llama": SimulatedModel(4 * GB), "coder": SimulatedModel(2 * GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, rows, Keeping(idle_s=100)) as it:
            await asyncio.sleep(3)
            assert it.state("llama") == "loaded"
            await it.use("code")
            await asyncio.sleep(99)
            assert it.state("coder") == "loaded"
            await asyncio.sleep(2)

            assert it.backend.log == ["load llama", "load coder", "unload coder"]
            assert it.state("llama") == "loaded"

    simulate(story())


def test_a_model_in_use_is_not_idle_however_long_it_takes() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(4 * GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")], Keeping(idle_s=10)) as it:
            assert await it.use("chat", "500") == "word"
            assert it.backend.log == ["load llama"]

    simulate(story())


def test_two_categories_with_the_same_model_share_one_runner() -> None:
    async def story() -> None:
        rows = [row("chat", "llama"), row("code", "llama"), row("math", "llama", precision=Precision.INT4)]
        async with serving(SimulatedMachine(cpu=9 * GB), {"llama": SimulatedModel(4 * GB)}, rows) as it:
            await asyncio.gather(*(it.use(category) for category in ("chat", "code", "chat", "code")))
            assert it.backend.loads() == 1

            await it.use("math")  # another precision is another model
            assert it.backend.loads() == 2

    simulate(story())


def test_loads_on_one_device_follow_each_other_and_on_two_go_together() -> None:
    async def together(machine: SimulatedMachine) -> float:
        models = {name: SimulatedModel(3 * GB, load_s=10) for name in ("one", "two")}
        async with serving(machine, models, [row("chat", "one"), row("code", "two")]) as it:
            await asyncio.gather(it.desk.load(CHAT), it.desk.load(CODE))
            return now_s()

    # That no two are under way on one device is checked by the simulated backend.
    assert simulate(together(SimulatedMachine(cpu=8 * GB))) == pytest.approx(20)
    assert simulate(together(SimulatedMachine(cuda_0=4 * GB, cuda_1=4 * GB))) == pytest.approx(10)


def test_the_least_recently_used_model_gives_way_and_no_more_than_needed() -> None:
    async def story() -> None:
        names = ("one", "two", "three", "four")
        models = {name: SimulatedModel(3 * GB) for name in names}
        async with serving(SimulatedMachine(cpu=10 * GB), models, [row(name, name) for name in names]) as it:
            for name in ("one", "two", "three", "one"):
                await it.use(name)
                await asyncio.sleep(5)
            await it.use("four")

            assert it.backend.log[3:] == ["unload two", "load four"]

    simulate(story())


def test_a_model_that_is_used_is_not_unloaded_for_another() -> None:
    async def story() -> None:
        models = {"one": SimulatedModel(6 * GB), "two": SimulatedModel(6 * GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "one"), row("code", "two")]) as it:
            long = asyncio.create_task(it.use("chat", "100"))
            await asyncio.sleep(5)
            other = asyncio.create_task(it.use("code"))
            await asyncio.sleep(90)
            assert it.state("one") == "loaded"
            assert it.state("two") == "waiting"

            assert await long == await other == "word"

    simulate(story())


def test_a_load_that_can_never_fit_is_refused_before_it_starts_and_names_the_remedy() -> None:
    async def story() -> None:
        models = {"small": SimulatedModel(3 * GB), "huge": SimulatedModel(70 * GB)}
        rows = [row("chat", "small"), row("code", "huge")]
        async with serving(SimulatedMachine(cpu=8 * GB), models, rows) as it:
            await it.use("chat")
            with pytest.raises(Exhausted) as refused:
                await it.use("code")

            assert refused.value.details["reason"] == "larger_than_memory"
            assert refused.value.details["held_bytes"] == {"Small": 3 * GB}
            assert "65.2 GiB" in refused.value.message
            assert "cpu has 4.7 GiB free" in refused.value.message
            assert "smaller precision" in refused.value.message
            assert "split" in refused.value.message
            assert it.backend.log == ["load small"]
            assert it.state("huge") == "error"
            assert await it.use("chat") == "word"

    simulate(story())


def test_what_stays_loaded_gives_way_to_nothing() -> None:
    async def story() -> None:
        models = {"stays": SimulatedModel(6 * GB), "other": SimulatedModel(6 * GB)}
        rows = [row("chat", "stays", stays=True), row("code", "other")]
        async with serving(SimulatedMachine(cpu=8 * GB), models, rows) as it:
            await asyncio.sleep(5)
            with pytest.raises(Exhausted, match=r"Stays 5\.6 GiB"):
                await it.use("code")
            await it.desk.unload(CHAT)
            assert await it.use("code") == "word"

    simulate(story())


def test_a_model_larger_than_one_device_goes_to_several() -> None:
    async def story() -> None:
        machine = SimulatedMachine(cuda_0=8 * GB, cuda_1=8 * GB)
        # The simulated backend itself does not shard: what it takes is little, what its files say is much.
        models = {"large": SimulatedModel(12 * GB, takes_bytes=6 * GB)}
        async with serving(machine, models, [row("chat", "large")]) as it:
            assert await it.use("chat") == "word"

    simulate(story())


def test_a_backend_has_the_last_word_on_where_it_loads() -> None:
    async def story() -> None:
        machine = SimulatedMachine(cuda_0=8 * GB, cuda_1=8 * GB)
        models = {"one": SimulatedModel(6 * GB, close_s=20), "two": SimulatedModel(6 * GB)}
        async with serving(machine, models, [row("chat", "one"), row("code", "two")]) as it:
            it.backend.contrary = True
            await it.desk.load(CHAT)
            assert machine.taken == {"cuda:0": 0, "cuda:1": 6 * GB}  # though the first was meant
            unloading = asyncio.create_task(it.desk.unload(CHAT))
            await asyncio.sleep(1)
            await it.desk.load(CODE)
            assert now_s() == pytest.approx(2 + 1 + 2)  # the first is not kept waiting by what happens on the second
            await unloading

    simulate(story())


def test_what_is_elsewhere_needs_no_memory() -> None:
    async def story() -> None:
        models = {"remote": SimulatedModel(0), "local": SimulatedModel(8 * GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "remote")]) as it:
            it.machine.taken["cpu"] = 8 * GB
            assert await it.use("chat") == "word"
            it.machine.taken["cpu"] = 0

    simulate(story())


def test_a_category_without_model_and_a_model_without_backend_are_told_apart() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB)}
        async with serving(SimulatedMachine(cpu=GB), models, [row("chat", "nobody-loads-this")]) as it:
            with pytest.raises(NotFound, match=r"no model serves 'code'.*served now: chat"):
                await it.use("code")
            with pytest.raises(ModelError, match="conductor doctor"):
                await it.use("chat")

    simulate(story())


def test_a_damaged_file_fails_each_request_until_it_is_replaced() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(-1)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            for _ in range(3):
                with pytest.raises(ModelError, match="damaged"):
                    await it.use("chat")
            assert it.state("llama") == "error"
            models["llama"].need_bytes = GB
            assert await it.use("chat") == "word"

    simulate(story())


def test_a_load_that_fails_is_tried_again_by_the_next_lease_after_rests_that_grow() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB, load_s=0, refusals=[ModelError(f"no {number}") for number in range(6)])}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            tried_s = []
            for number in range(5):
                with pytest.raises(ModelError, match=f"no {number}"):
                    await it.use("chat")
                tried_s.append(now_s())
            assert [later - earlier for earlier, later in pairwise(tried_s)] == [1, 2, 4, 8]

            with pytest.raises(Overloaded, match=r"failed 5 times in a row \(no 4\)") as rests:
                await it.use("chat")  # a rest longer than `longest_wait_s` is not waited for
            assert rests.value.retry_after_s == pytest.approx(16)

            await asyncio.sleep(16)
            with pytest.raises(ModelError, match="no 5"):
                await it.use("chat")
            await asyncio.sleep(32)
            assert await it.use("chat") == "word"

    simulate(story())


def test_what_fails_for_good_is_not_said_to_be_overloaded() -> None:
    async def story() -> None:
        refusals = [ModelError("damaged", details={"reason": "corrupt"}) for _ in range(5)]
        models = {"llama": SimulatedModel(GB, load_s=0, refusals=[*refusals])}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            for _ in refusals:
                with pytest.raises(ModelError, match="damaged"):
                    await it.use("chat")
            with pytest.raises(ModelError, match=r"failed 5 times in a row \(damaged\)") as rests:
                await it.use("chat")
            assert rests.value.lasts

    simulate(story())


def test_a_fault_of_a_backend_is_one_models_failure_and_the_others_go_on() -> None:
    async def story() -> None:
        models = {"bad": SimulatedModel(GB, refusals=[KeyError("oops")]), "good": SimulatedModel(GB)}
        rows = [row("chat", "bad"), row("code", "good")]
        async with serving(SimulatedMachine(cpu=8 * GB), models, rows) as it:
            with pytest.raises(ModelError, match=r"KeyError.*fault of the backend"):
                await it.use("chat")
            assert await it.use("code") == "word"
            assert await it.use("chat") == "word"

    simulate(story())


def test_a_runner_that_dies_is_an_error_and_is_loaded_again_by_the_next_lease() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            with pytest.raises(ModelError, match="gone"):
                await it.use("chat", "die")
            await asyncio.sleep(0.1)
            assert it.state("llama") == "error"
            assert it.registry.records()[0].last_error == "the process of llama is gone"

            assert await it.use("chat") == "word"
            assert it.backend.log == ["load llama", "unload llama", "load llama"]
            assert it.state("llama") == "loaded"

    simulate(story())


def test_a_generation_that_fails_on_a_living_model_costs_no_reload() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            long = asyncio.create_task(it.use("chat", "30"))
            await asyncio.sleep(5)
            with pytest.raises(ModelError, match="out of breath"):
                await it.use("chat", "stumble")
            assert await it.use("chat") == await long == "word"
            assert it.backend.log == ["load llama"]
            record = it.registry.records()[0]
            assert (record.generations, record.errors, record.healthy) == (2, 1, True)

    simulate(story())


def test_a_health_check_finds_a_model_that_died_while_nobody_used_it() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB), "other": SimulatedModel(GB)}
        rows = [row("chat", "llama"), row("code", "other")]
        async with serving(SimulatedMachine(cpu=8 * GB), models, rows) as it:
            await asyncio.gather(it.use("chat"), it.use("code"))
            next(runner for runner in it.backend.runners if runner.name == "llama").alive = False
            await it.desk.check()
            assert (it.state("llama"), it.state("other")) == ("error", "loaded")

    simulate(story())


def test_a_waiter_who_is_cancelled_ends_no_load_that_others_wait_for() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB, load_s=10)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            first, second = (asyncio.create_task(it.use("chat")) for _ in range(2))
            await asyncio.sleep(5)
            first.cancel()
            assert await second == "word"
            assert now_s() == pytest.approx(11)
            assert [(demand.leases, demand.waiting) for demand in it.desk.demand()] == [(0, 0)]

    simulate(story())


@pytest.mark.parametrize("cancelled_after_s", [0.0, 1.9, 2.0, 2.0000001, 2.5, 3.0, 4.0])
def test_a_cancelled_waiter_leaves_no_lease_behind_at_whatever_moment(cancelled_after_s: float) -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            waiter = asyncio.create_task(it.use("chat"))
            await asyncio.sleep(cancelled_after_s)
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
            await asyncio.sleep(0)
            assert it.desk.demand()[0].leases == 0
            await it.desk.unload(CHAT)
            assert it.state("llama") in ("absent", "loaded")  # loaded where the load went on and was not waited for

    simulate(story())


def test_a_lease_that_is_granted_at_the_moment_of_cancelling_is_given_back() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            waiter = asyncio.create_task(it.use("chat"))

            def cancel_now(change: StateChange) -> None:
                if change.record.state is ModelState.LOADED:  # the lease is granted in this very step of the loop
                    asyncio.get_running_loop().call_soon(waiter.cancel)

            it.registry.listen(cancel_now)
            await asyncio.gather(waiter, return_exceptions=True)
            assert waiter.cancelled()
            assert it.desk.demand()[0].leases == 0
            assert it.state("llama") == "loaded"

    simulate(story())


def test_a_wish_that_is_withdrawn_before_its_load_began_is_forgotten() -> None:
    async def story() -> None:
        models = {"one": SimulatedModel(6 * GB), "two": SimulatedModel(6 * GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "one"), row("code", "two")]) as it:
            long = asyncio.create_task(it.use("chat", "30"))
            await asyncio.sleep(5)
            wish = asyncio.create_task(it.use("code"))
            await asyncio.sleep(12)  # beyond the longest wait: the place of `one` is closed
            held_up = asyncio.create_task(it.use("chat"))
            await asyncio.sleep(1)
            assert it.desk.demand()[0].waiting == 1
            wish.cancel()
            assert await held_up == "word"
            assert not long.done()
            assert it.state("two") == "absent"
            await long
            assert it.backend.log == ["load one"]

    simulate(story())


def test_unloading_waits_for_those_who_use_it_and_takes_nobody_new_meanwhile() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            long = asyncio.create_task(it.use("chat", "10"))
            await asyncio.sleep(5)
            unloading = asyncio.create_task(it.desk.unload(CHAT))
            await asyncio.sleep(0)
            late = asyncio.create_task(it.use("chat"))
            assert await long == "word"
            await unloading
            assert it.backend.log == ["load llama", "unload llama"]
            assert await late == "word"

    simulate(story())


def test_a_new_table_unloads_what_it_does_not_name_and_loads_what_stays() -> None:
    async def story() -> None:
        models = {"old": SimulatedModel(GB), "new": SimulatedModel(GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "old")]) as it:
            long = asyncio.create_task(it.use("chat", "10"))
            await asyncio.sleep(5)
            it.desk.use_table([row("chat", "new", stays=True)])
            await asyncio.sleep(3)
            assert (it.state("old"), it.state("new")) == ("loaded", "loaded")
            assert await it.use("chat") == "word"
            assert await long == "word"
            await asyncio.sleep(1)
            assert [record.key.name for record in it.registry.records()] == ["new"]

    simulate(story())


def test_who_waits_for_a_model_that_the_table_drops_is_told() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB, load_s=10)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            waiter = asyncio.create_task(it.use("chat"))
            await asyncio.sleep(5)
            it.desk.use_table([])
            with pytest.raises(NotFound, match="no longer in the model table"):
                await waiter
            await asyncio.sleep(10)
            assert it.registry.records() == ()

    simulate(story())


def test_a_full_queue_turns_away_and_a_wait_ends() -> None:
    async def story() -> None:
        models = {"one": SimulatedModel(6 * GB), "two": SimulatedModel(6 * GB)}
        keeping = Keeping(most_waiting=2, give_up_s=60)
        rows = [row("chat", "one"), row("code", "two")]
        async with serving(SimulatedMachine(cpu=8 * GB), models, rows, keeping) as it:
            endless = asyncio.create_task(it.use("chat", "1000"))
            await asyncio.sleep(5)
            waiting = [asyncio.create_task(it.use("code")) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="2 requests wait for Two"):
                await it.use("code")
            for waiter in waiting:
                with pytest.raises(Overloaded, match="could not be had within 1 min 0 s: other models are in use"):
                    await waiter
            assert now_s() == pytest.approx(65)
            endless.cancel()

    simulate(story())


def test_closing_lets_generations_end_and_tells_those_who_wait() -> None:
    async def story() -> None:
        models = {"one": SimulatedModel(6 * GB), "two": SimulatedModel(6 * GB)}
        rows = [row("chat", "one"), row("code", "two")]
        async with serving(SimulatedMachine(cpu=8 * GB), models, rows) as it:
            used = asyncio.create_task(it.use("chat", "10"))
            await asyncio.sleep(5)
            waiting = asyncio.create_task(it.use("code"))
            await asyncio.sleep(0)
            await it.desk.close()
            assert used.done()
            assert used.result() == "word"
            with pytest.raises(Overloaded, match="stopping"):
                await waiting
            with pytest.raises(Overloaded, match="stopping"):
                await it.use("chat")

    simulate(story())


def test_a_desk_that_never_ran_closes_at_once_and_takes_nobody() -> None:
    async def story() -> None:
        async with serving(SimulatedMachine(cpu=GB), {"one": SimulatedModel(0)}, [row("chat", "one")]) as it:
            it.running.cancel()  # before its first step
            await it.desk.close()
            with pytest.raises(Overloaded, match="stopping"):
                await it.use("chat")

    simulate(story())


def test_closing_ends_a_load_and_after_a_while_a_generation() -> None:
    async def story() -> float:
        models = {"one": SimulatedModel(GB), "two": SimulatedModel(GB, load_s=1_000)}
        rows = [row("chat", "one"), row("code", "two")]
        async with serving(SimulatedMachine(cpu=8 * GB), models, rows, Keeping(drain_s=20)) as it:
            endless = asyncio.create_task(it.use("chat", "1000"))
            await asyncio.sleep(5)
            loading = asyncio.create_task(it.desk.load(CODE))
            await asyncio.sleep(5)
            await it.desk.close()
            closed_s = now_s()
            with pytest.raises(ModelError, match="gone"):
                await endless
            with pytest.raises(Overloaded, match="stopping"):
                await loading
            return closed_s

    assert simulate(story()) == pytest.approx(10 + 20 + 0.5)


def test_a_load_that_takes_too_long_is_ended_and_said() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB, load_s=100)}
        async with serving(
            SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")], Keeping(load_limit_s=10)
        ) as it:
            with pytest.raises(ModelError, match=r"not loaded within 10\.0 s"):
                await it.use("chat")
            assert now_s() == pytest.approx(10)
            assert it.machine.busy == set()

    simulate(story())


@pytest.mark.parametrize("end", ["the limit", "closing", "cancelling"])
def test_a_model_that_is_loaded_although_its_load_was_ended_is_not_lost(end: str) -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB, load_s=100, stubborn=True)}
        keeping = Keeping(load_limit_s=10 if end == "the limit" else 1_000)
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")], keeping) as it:
            waiter = asyncio.create_task(it.use("chat"))
            await asyncio.sleep(5)
            if end == "closing":
                await it.desk.close()
            elif end == "cancelling":
                it.running.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
        assert len(it.backend.runners) == 1  # and it was given back, as `serving` sees to

    simulate(story())


def test_closing_in_the_middle_of_a_swap_does_not_begin_the_load() -> None:
    async def story() -> None:
        models = {"one": SimulatedModel(6 * GB), "two": SimulatedModel(6 * GB, load_s=1_000)}
        rows = [row("chat", "one"), row("code", "two")]
        async with serving(SimulatedMachine(cpu=8 * GB), models, rows) as it:
            await it.use("chat")
            waiting = asyncio.create_task(it.use("code"))
            await asyncio.sleep(0.75)
            assert it.state("one") == "unloading"
            await it.desk.close()
            assert now_s() == pytest.approx(4.0)
            assert it.backend.log == ["load one", "unload one"]
            with pytest.raises(Overloaded, match="stopping"):
                await waiting

    simulate(story())


def test_a_server_that_is_cancelled_gives_back_what_it_was_unloading() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "llama")]) as it:
            await it.use("chat")
            unloading = asyncio.create_task(it.desk.unload(CHAT))
            await asyncio.sleep(0.25)  # half-way
            it.running.cancel()
            await unloading
            assert it.machine.taken == {"cpu": 0}

    simulate(story())


def test_what_a_model_took_corrects_the_next_estimate() -> None:
    async def story() -> None:
        models = {f"m{number}": SimulatedModel(4 * GB, takes_bytes=5 * GB) for number in range(5)}
        rows = [row(name, name) for name in models]
        async with serving(SimulatedMachine(cpu=64 * GB), models, rows) as it:
            before = await it.desk.expect(Category("m4"))
            for name in ("m0", "m1", "m2", "m3"):
                await it.desk.load(Category(name))
            after = await it.desk.expect(Category("m4"))
            assert (before.bytes, after.bytes) == (4 * GB, 5 * GB)
            assert (before.observations, after.observations) == (0, 4)
            assert after.margin_bytes / after.bytes < before.margin_bytes / before.bytes

    simulate(story())


def test_memory_that_another_program_took_meanwhile_is_not_counted_on() -> None:
    async def story() -> None:
        models = {"one": SimulatedModel(6 * GB), "two": SimulatedModel(6 * GB)}
        async with serving(SimulatedMachine(cpu=8 * GB), models, [row("chat", "one"), row("code", "two")]) as it:
            await it.use("chat")
            wish = asyncio.create_task(it.use("code"))
            await asyncio.sleep(0.6)  # `one` is being unloaded
            assert it.state("one") == "unloading"
            it.machine.taken["cpu"] += 2 * GB
            with pytest.raises(Exhausted):
                await wish
            assert it.backend.log == ["load one", "unload one"]
            it.machine.taken["cpu"] -= 2 * GB
            assert await it.use("code") == "word"

    simulate(story())


@pytest.mark.parametrize("comes_s", [0.1, 1.6, 1.8, 2.1, 3.2, 3.6, 4.1])
def test_a_measurement_during_which_a_load_or_unload_ended_is_not_believed(comes_s: float) -> None:
    async def story() -> None:
        models = {"one": SimulatedModel(6 * GB), "two": SimulatedModel(6 * GB)}
        machine = SimulatedMachine(cpu=8 * GB, measures_s=0.3)
        async with serving(machine, models, [row("chat", "one"), row("code", "two")]) as it:
            first = asyncio.create_task(it.use("chat"))
            await asyncio.sleep(comes_s)
            assert await it.use("code") == await first == await it.use("chat") == "word"

    simulate(story())


def test_the_runner_that_a_lease_hands_out_cannot_be_closed_by_its_borrower() -> None:
    async def story() -> None:
        models = {"llama": SimulatedModel(GB)}
        machine = SimulatedMachine(cpu=8 * GB)
        async with serving(machine, models, [row("chat", "llama")]) as it, it.desk.lease(CHAT) as runner:
            await runner.close()
            assert await runner.count_tokens(Generation(prompt="x")) == 1
            assert (await runner.embed(["a", "b"]))[0] == [[1.0], [1.0]]
            assert runner.facts.backend == "simulated"

    simulate(story())
