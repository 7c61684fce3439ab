"""What another model table changes: told before anything loads or unloads."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.model import Category, ModelName, Precision, ServedModel
from conductor.serving.settings_md.compare import Copy, compare
from conductor.serving.settings_md.table import ModelTable


def served(
    category: str, name: str = "a/tiny", *, stays: bool = False, precision: Precision = Precision.FP16
) -> ServedModel:
    return ServedModel(
        category=Category(category),
        title="Tiny",
        name=ModelName(name),
        memory_bytes=2_000_000_000,
        stay_loaded=stays,
        precision=precision,
    )


def table(*rows: ServedModel, persona: str = "") -> ModelTable:
    return ModelTable(persona=persona, rows=rows)


def test_every_kind_of_change_is_one_line_and_its_consequences_follow() -> None:
    chat, code = served("chat", "a/chat", stays=True), served("code", "a/code")
    old = table(chat, code, served("math", "a/math"), served("legal", "a/legal", stays=True), persona="Be kind.")
    new = table(
        chat,
        replace(code, precision=Precision.INT4, stay_loaded=True),
        served("math", "a/other"),
        served("talk", "a/legal"),
        persona="Be brief.",
    )

    changes = compare(old, new)

    assert changes.lines() == [
        "~ persona",
        "- legal: a/legal (FP16)",
        "+ talk: a/legal (FP16)",
        "~ code: FP16 → 4-bit; stays loaded",
        "~ math: a/math → a/other",
        "unload a/code (FP16)",
        "unload a/math (FP16)",
        "load a/code (4-bit), about 2 GB",
        "load when asked for: a/other (FP16)",
        "need not stay loaded: a/legal (FP16)",
    ]
    assert changes.changed_precision == ("code",)
    assert changes


def test_a_model_that_serves_two_categories_is_loaded_and_unloaded_once() -> None:
    one, two = served("chat", stays=True), served("code")

    assert compare(table(), table(one, two)).load == (Copy(ModelName("a/tiny"), Precision.FP16),)
    assert compare(table(one, two), table(two)).unload == ()
    assert compare(table(one, two), table()).unload == (Copy(ModelName("a/tiny"), Precision.FP16),)


def test_another_precision_reloads_nothing_where_the_model_brings_its_own() -> None:
    old = served("chat", "/models/tiny.gguf", stays=True)

    changes = compare(table(old), table(replace(old, precision=Precision.INT4)))

    assert (changes.load, changes.unload, changes.changed_precision) == ((), (), ())
    assert changes.lines() == ["~ chat: FP16 → 4-bit"]


def test_models_of_endpoints_are_neither_loaded_nor_unloaded() -> None:
    there = served("chat", "ollama://host#tiny", stays=True)

    assert compare(table(), table(there)).lines() == ["+ chat: ollama://host#tiny, stays loaded"]
    assert compare(table(there), table()).lines() == ["- chat: ollama://host#tiny"]


def test_what_is_only_said_of_a_model_changes_no_memory() -> None:
    old = served("chat")

    changes = compare(table(old), table(replace(old, title="Small", memory_bytes=None)))

    assert changes.lines() == ["~ chat: memory 2 GB → –; title 'Tiny' → 'Small'"]


TABLES = st.lists(
    st.builds(
        served,
        st.sampled_from(["chat", "code", "math", "legal"]),
        st.sampled_from(["a/one", "a/two", "/m/three.gguf", "http://host/v1#four"]),
        stays=st.booleans(),
        precision=st.sampled_from([Precision.FP16, Precision.INT4]),
    ),
    unique_by=lambda row: row.category,
).map(lambda rows: table(*rows))


@given(TABLES, TABLES)
def test_what_loads_and_unloads_leads_from_the_old_copies_to_the_new(old: ModelTable, new: ModelTable) -> None:
    changes = compare(old, new)
    here = {Copy.of(row) for row in old.rows if Copy.of(row).is_here}
    wanted = {Copy.of(row) for row in new.rows if Copy.of(row).is_here}

    assert (here - set(changes.unload)) | set(changes.load) | set(changes.on_demand) == wanted
    assert not set(changes.unload) & (set(changes.load) | set(changes.on_demand))
    assert bool(changes) == (old.digest != new.digest)
    assert set(compare(new, old).unload) == set(changes.on_demand) | (set(changes.load) - here)


def test_only_what_is_in_memory_is_told_to_be_unloaded_and_not_loaded_again() -> None:
    tiny, small = (Copy(ModelName(name), Precision.FP16) for name in ("a/tiny", "a/small"))
    was = table(served("chat", "a/tiny"), served("code", "a/code"), served("maths", "a/small"))
    now = table(served("maths", "a/small", stays=True))
    gone = ["- chat: a/tiny (FP16)", "- code: a/code (FP16)", "~ maths: stays loaded"]

    assert compare(was, now).lines([]) == [*gone, "load a/small (FP16), about 2 GB"]
    assert compare(was, now).lines([tiny]) == [*gone, "unload a/tiny (FP16)", "load a/small (FP16), about 2 GB"]
    assert compare(was, now).lines([tiny, small]) == [*gone, "unload a/tiny (FP16)"]
