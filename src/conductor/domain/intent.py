"""What a person wants when talking to Conductor."""

from enum import StrEnum


class Intent(StrEnum):
    """The nine things an utterance may ask for (FEATURES C15, C17)."""

    STATUS = "status"
    DEVICE_ADVICE = "device_advice"
    EXPLAIN_DECISION = "explain_decision"
    SCHEDULE_TASK = "schedule_task"
    PERFORMANCE_ANALYSIS = "performance_analysis"
    CANCEL_TASK = "cancel_task"
    LIST_NODES = "list_nodes"
    LIST_MODELS = "list_models"
    OFF_TOPIC = "off_topic"
