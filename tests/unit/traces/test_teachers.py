"""Teachers: described completely, opened on any transport, their keys never shown."""

import polars as pl
import pytest

from assets.traces.embedded_teacher.teacher import MODEL_FAMILY
from assets.traces.teachers import EMBEDDED, TeacherEndpoint, TeacherError, open_teacher

KEY = "sk-very-secret"
NO_RESPONDENTS = pl.DataFrame(schema={"wave": pl.Int32, "survey": pl.String})


def test_without_an_address_the_embedded_teacher_answers_and_says_so() -> None:
    teacher = open_teacher(TeacherEndpoint(), NO_RESPONDENTS)
    assert teacher.label == EMBEDDED
    assert teacher.model.startswith(f"{MODEL_FAMILY}@")


def test_a_key_alone_does_not_choose_another_teacher_and_is_not_sent_to_the_embedded_one() -> None:
    teacher = open_teacher(TeacherEndpoint(api_key=KEY), NO_RESPONDENTS)
    assert teacher.label == EMBEDDED
    assert teacher.client.api_key != KEY


@pytest.mark.parametrize(
    ("address", "label"),
    [("http://127.0.0.1:8000/v1", "127.0.0.1"), ("https://models.example/v1", "models.example")],
)
def test_traces_name_a_teacher_by_its_host(address: str, label: str) -> None:
    teacher = open_teacher(TeacherEndpoint(address, "some-model", KEY), NO_RESPONDENTS)
    assert (teacher.label, teacher.model) == (label, "some-model")
    assert str(teacher.client.base_url).startswith(address)
    assert teacher.client.api_key == KEY


def test_an_address_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(TeacherError, match="OPENAI_API_KEY") as raised:
        TeacherEndpoint("https://user:password@models.example/v1", "some-model")
    assert "password@" not in str(raised.value)


@pytest.mark.parametrize("address", ["localhost:8000/v1", "ftp://models.example", ""])
def test_an_address_that_is_none_names_the_setting(address: str) -> None:
    with pytest.raises(TeacherError, match="POPULACE_TEACHER_BASE_URL") as raised:
        TeacherEndpoint(address, "some-model", KEY)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("model", [None, ""])
def test_a_missing_model_names_the_setting(model: str | None) -> None:
    with pytest.raises(TeacherError, match="POPULACE_TEACHER_MODEL") as raised:
        TeacherEndpoint("https://models.example/v1", model, KEY)
    assert KEY not in str(raised.value)


def test_the_key_never_shows_in_representations() -> None:
    endpoint = TeacherEndpoint("https://models.example/v1", "some-model", KEY)
    assert KEY not in repr(endpoint)
    assert KEY not in str(endpoint)
    assert KEY not in repr(open_teacher(endpoint, NO_RESPONDENTS))
