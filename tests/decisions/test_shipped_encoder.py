"""Decisions with the encoder that is shipped; what it gets right on real texts is measured by `mind evaluate`."""

import pytest
from tests.decisions.arrangement import FleetOf, StillClock, an_outcome, live_through

from conductor.adapters.encoder_onnx import SHIPPED, OnnxEncoder
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.device import DeviceType
from conductor.domain.outcome import Ending
from conductor.domain.task import Submission

pytestmark = pytest.mark.skipif(
    not (SHIPPED / "encoder.int8.onnx").is_file(), reason="the encoder's weights are not here; `make train` makes them"
)


@pytest.fixture(scope="module")
def shipped() -> OnnxEncoder:
    return OnnxEncoder()


@pytest.fixture
def maker(shipped: OnnxEncoder, clock: StillClock) -> DecisionMaker:
    return DecisionMaker(shipped, FleetOf(), ExperienceMemory(width=384), clock)


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("Encode this clip to H.264", DeviceType.VIDEO),
        ("Apply a sharpening filter to these photos", DeviceType.ISP),
        ("Resample this recording to 16 kHz", DeviceType.DSP),
        ("Sort the rows of a CSV file by date", DeviceType.CPU),
        ("Train a convolutional network for 20 epochs", DeviceType.GPU),
        ("Score the sentiment of these reviews with a pretrained model", DeviceType.NPU),
    ],
)
def test_plain_work_gets_its_device(maker: DecisionMaker, text: str, device: DeviceType) -> None:
    assert maker.decide("t1", Submission(description=text)).device is device


def test_a_reworded_task_is_recognised_as_similar_and_its_duration_used(maker: DecisionMaker) -> None:
    for number in range(3):
        live_through(maker, "Encode the holiday clip to H.264", an_outcome(duration_s=4.0), task_id=f"t{number}")

    decision = maker.decide("t9", Submission(description="Encode our holiday clips to H.264 please"))

    assert decision.similar[0].task_id == "t2"
    assert decision.duration_s.value == pytest.approx(4.0)


def test_repeated_failures_on_one_device_send_such_work_elsewhere(maker: DecisionMaker) -> None:
    text = "Encode this clip to H.264"
    for number in range(7):
        live_through(maker, text, an_outcome(ending=Ending.EXIT_CODE), task_id=f"t{number}")

    assert maker.decide("t99", Submission(description=text)).device is not DeviceType.VIDEO
