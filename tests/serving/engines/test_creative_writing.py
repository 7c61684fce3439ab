import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.engines.scripted import OneModelDesk, ScriptedRunner

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Finish, Piece, Sampling
from conductor.serving.engine import Answer
from conductor.serving.engines.creative_writing import CreativeOptions, CreativeWriting, Form, Genre
from conductor.serving.texts.prose import overlap, seam, word_count

pytestmark = pytest.mark.anyio


def engine(runner: ScriptedRunner) -> CreativeWriting:
    return CreativeWriting(OneModelDesk(runner))


def words(first: int, last: int) -> str:
    return " ".join(f"w{number}" for number in range(first, last))


async def test_the_length_is_measured_and_a_miss_is_said() -> None:
    near = await engine(ScriptedRunner(words(0, 95))).generate("x", CreativeOptions(words=100))
    far = await engine(ScriptedRunner(words(0, 150))).generate("x", CreativeOptions(words=100))
    assert (near.facts["words"], near.notes) == (95, ())
    assert far.notes == ("the piece has 150 words; 100 were wished for",)


async def test_a_long_piece_is_written_in_parts_without_repeating_at_the_seam() -> None:
    runner = ScriptedRunner(words(0, 40), words(30, 80), words(80, 101))
    answer = await engine(runner).generate("a long tale", CreativeOptions(words=100))
    assert answer.text == words(0, 101)
    assert (answer.facts["parts"], answer.facts["words"], answer.notes) == (3, 101, ())
    assert "About 60 words are left" in runner.asked[1].messages[-1].content
    assert [message.content for message in runner.asked[2].messages[1:3]] == ["a long tale", words(0, 80)]


async def test_the_stream_of_the_parts_is_the_piece() -> None:
    runner = ScriptedRunner(words(0, 60), words(50, 100))
    parts = [part async for part in engine(runner).generate_stream("x", CreativeOptions(words=100))]
    assert isinstance(parts[-1], Answer)
    assert "".join(part.text for part in parts if isinstance(part, Piece)) == parts[-1].text == words(0, 100)
    assert sum(part.finish is not None for part in parts if isinstance(part, Piece)) == 1


async def test_a_model_that_adds_nothing_more_ends_the_piece() -> None:
    runner = ScriptedRunner(words(0, 40), words(20, 40))
    answer = await engine(runner).generate("x", CreativeOptions(words=100))
    assert answer.text == words(0, 40)
    assert answer.notes == ("the piece has 40 words; 100 were wished for",)


async def test_a_piece_beyond_the_context_is_continued_from_what_fits_of_its_end() -> None:
    runner = ScriptedRunner(words(0, 1000), words(1000, 1400), words(1400, 2000))
    answer = await engine(runner).generate("x", CreativeOptions(words=2000))
    assert answer.text == words(0, 2000)
    so_far = runner.asked[2].messages[2].content
    assert words(0, 1400).endswith(so_far)
    assert 500 < len(so_far) < 6001


async def test_half_a_word_at_a_limit_is_written_by_the_next_part() -> None:
    options = CreativeOptions(words=20, sampling=Sampling(max_tokens=10))
    runner = ScriptedRunner(words(0, 20), words(12, 17), words(17, 20))
    parts = [part async for part in engine(runner).generate_stream("x", options)]
    assert isinstance(parts[-1], Answer)
    assert parts[-1].text == words(0, 20)
    assert "".join(part.text for part in parts if isinstance(part, Piece)) == parts[-1].text


async def test_a_cut_off_piece_without_a_wished_length_says_so() -> None:
    answer = await engine(ScriptedRunner(words(0, 90))).generate("x", CreativeOptions(sampling=Sampling(max_tokens=5)))
    assert (answer.finish, answer.notes) == (
        Finish.LENGTH,
        ("the piece was cut off before its end; allow more max_tokens",),
    )


@pytest.mark.parametrize(("form", "lines"), [(Form.HAIKU, 3), (Form.LIMERICK, 5), (Form.SONNET, 14)])
async def test_the_lines_of_a_form_are_counted(form: Form, lines: int) -> None:
    right = await engine(ScriptedRunner("a line\n\n" * lines)).generate("x", CreativeOptions(form=form))
    wrong = await engine(ScriptedRunner("a line\n" * (lines + 1))).generate("x", CreativeOptions(form=form))
    assert right.notes == ()
    assert wrong.notes == (f"a {form.value} has {lines} lines; this one has {lines + 1}",)


def test_every_genre_and_form_is_asked_for_in_its_own_words() -> None:
    writing = engine(ScriptedRunner())
    asked = {writing.system_prompt(CreativeOptions(genre=genre, form=form)) for genre in Genre for form in Form}
    assert len(asked) == len(Genre) * len(Form)


@pytest.mark.parametrize(
    ("prompt", "options", "field"),
    [
        ("", CreativeOptions(), "prompt"),
        ("x", CreativeOptions(words=0), "words"),
        ("x", CreativeOptions(words=10**9), "words"),
        ("x", CreativeOptions(form=Form.HAIKU, words=50), "words"),
    ],
)
async def test_senseless_wishes_are_refused(prompt: str, options: CreativeOptions, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await engine(ScriptedRunner()).generate(prompt, options)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("it's well-known", 2), ("— … !", 0), ("naïve café 3.5", 4), ("我爱你", 3), ("I ♥ 猫", 2)],
)
def test_words_are_counted(text: str, count: int) -> None:
    assert word_count(text) == count


@given(
    st.text(alphabet="abc ", max_size=60), st.text(alphabet="abc ", max_size=60), st.text(alphabet="xyz", max_size=9)
)
def test_a_repeated_ending_is_found(before: str, repeated: str, new: str) -> None:
    found = overlap(before + repeated, repeated + new)
    whole = repeated.strip()
    if len(whole) >= 12 and whole == repeated:
        assert found >= len(repeated)
    assert (repeated + new)[:found].strip() == "" or (before + repeated).rstrip().endswith(
        (repeated + new)[:found].strip()
    )


def test_a_seam_joins_as_a_writer_would() -> None:
    assert [seam("end.", "New"), seam("mid", "word"), seam("mid", ", x"), seam("x ", "y"), seam("", "y")] == [
        "\n\n",
        " ",
        "",
        "",
        "",
    ]
