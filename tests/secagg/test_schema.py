from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.schema import (
    MAX_CLASSES,
    ChoiceFeature,
    Diagnosis,
    DiagnosisClass,
    FeatureSchema,
    NumericFeature,
    TermSetFeature,
    canonical_term,
    decimal,
    real,
)

AGE = {
    "name": "age",
    "path": "age",
    "minimum": "0",
    "maximum": "130",
    "centre": "50",
    "half_range": "20",
    "default": "50",
}
DIAGNOSIS = Diagnosis(
    classes=(
        DiagnosisClass(name="other"),
        DiagnosisClass(name="respiratory", terms=("pneumonia", "respiratory_infection")),
        DiagnosisClass(name="cardiac", terms=("angina",)),
    ),
    other="other",
)


def example() -> FeatureSchema:
    return FeatureSchema(
        features=(
            NumericFeature(**AGE, missing_indicator="2"),
            NumericFeature(**{**AGE, "name": "hr", "path": "vitals.hr"}),
            ChoiceFeature(
                name="sex", path="sex", classes=("female",), baseline=("male",), other=True
            ),
            TermSetFeature(name="symptoms", path="symptoms", classes=("cough", "fever")),
        ),
        diagnosis=DIAGNOSIS,
    )


def test_columns_are_named_in_order_and_counted() -> None:
    schema = example()
    assert schema.feature_names == (
        "age",
        "age:missing",
        "hr",
        "sex=female",
        "sex=other",
        "symptoms=cough",
        "symptoms=fever",
        "symptoms=other",
    )
    assert schema.feature_count == 8
    assert schema.class_names == ("other", "respiratory", "cardiac")
    assert schema.class_count == 3


def test_the_schema_survives_json_without_a_float() -> None:
    encoded = msgspec.json.encode(example())
    assert msgspec.json.decode(encoded, type=FeatureSchema) == example()

    def leaves(value: object) -> list[object]:
        if isinstance(value, dict):
            return [leaf for each in value.values() for leaf in leaves(each)]
        if isinstance(value, list):
            return [leaf for each in value for leaf in leaves(each)]
        return [value]

    assert not any(isinstance(leaf, float) for leaf in leaves(msgspec.json.decode(encoded)))


def test_an_unknown_field_is_refused() -> None:
    document = msgspec.to_builtins(example())
    document["features"][0]["mean"] = "51"
    with pytest.raises(msgspec.ValidationError, match="unknown field `mean`"):
        msgspec.convert(document, FeatureSchema)


def test_a_violated_rule_is_named_while_decoding() -> None:
    document = msgspec.to_builtins(example())
    document["features"][1]["half_range"] = "0"
    with pytest.raises(msgspec.ValidationError, match="feature 'hr': half_range must be positive"):
        msgspec.convert(document, FeatureSchema)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "Age"}, "feature 'Age'"),
        ({"name": "age\n"}, "feature 'age"),
        ({"path": "diagnosis"}, "no place of a record's features"),
        ({"path": "patient_id"}, "no place of a record's features"),
        ({"path": "vitals"}, "no place of a record's features"),
        ({"path": "age.years"}, "no place of a record's features"),
        ({"path": "labs.a.b.c"}, "no place of a record's features"),
        ({"minimum": "130"}, "minimum 130 is not below maximum 130"),
        ({"default": "131"}, "default lies outside 0..130"),
        ({"centre": "-1"}, "centre lies outside 0..130"),
        ({"half_range": "-1"}, "half_range must be positive"),
        ({"limit": "0"}, "limit must be positive"),
        ({"limit": "1e3"}, "limit: '1e3' is not a decimal"),
        ({"missing_indicator": "yes"}, "missing_indicator: 'yes' is not a decimal"),
    ],
)
def test_a_numeric_feature_says_which_field_is_wrong(
    change: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        NumericFeature(**{**AGE, **change})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"classes": ()}, "at least one class"),
        ({"classes": (), "baseline": ("male",)}, "at least one class"),
        ({"classes": ("Female",)}, "write 'female'"),
        ({"classes": ("",)}, "not in canonical spelling"),
        ({"classes": ("a" * 65,)}, "not in canonical spelling"),
        ({"classes": ("female",), "baseline": ("female",)}, "the same term twice"),
        ({"classes": tuple(f"c{i}" for i in range(MAX_CLASSES + 1))}, f"1 to {MAX_CLASSES} terms"),
        ({"classes": ("other",), "other": True}, "'other' is the name of the last column"),
        ({"on": "0"}, "on and off are the same"),
        ({"on": "0.0"}, "on and off are the same"),
        ({"off": "x"}, "off: 'x' is not a decimal"),
    ],
)
@pytest.mark.parametrize("kind", [ChoiceFeature, TermSetFeature])
def test_an_indicator_feature_says_what_is_wrong(
    kind: type[ChoiceFeature] | type[TermSetFeature], change: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        msgspec.convert(
            {"name": "sex", "path": "sex", "classes": ("female",), "kind": _TAGS[kind], **change},
            kind,
        )


_TAGS = {ChoiceFeature: "choice", TermSetFeature: "terms"}


def test_a_default_must_be_a_known_term() -> None:
    for default in ("male", "female", ""):
        ChoiceFeature(
            name="sex", path="sex", classes=("female",), baseline=("male",), default=default
        )
    with pytest.raises(ValueError, match="default 'male' is no class or baseline"):
        ChoiceFeature(name="sex", path="sex", classes=("female",), default="male")


@pytest.mark.parametrize(
    ("classes", "other", "complaint"),
    [
        ((DiagnosisClass(name="a"),), "a", "needs 2 to"),
        ((DiagnosisClass(name="a"), DiagnosisClass(name="a")), "a", "the same class twice"),
        ((DiagnosisClass(name="a"), DiagnosisClass(name="b")), "c", "other 'c' is not one of"),
        (
            (DiagnosisClass(name="a", terms=("x",)), DiagnosisClass(name="b", terms=("x",))),
            "a",
            "one term stands in two classes",
        ),
    ],
)
def test_a_diagnosis_says_what_is_wrong(
    classes: tuple[DiagnosisClass, ...], other: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Diagnosis(classes=classes, other=other)


def test_every_term_falls_into_one_class() -> None:
    assert DIAGNOSIS.class_of("Respiratory Infection") == 1
    assert DIAGNOSIS.class_of("ANGINA") == 2
    assert DIAGNOSIS.class_of("broken leg") == 0
    assert DIAGNOSIS.class_of("respiratory") == 0  # a class name is not one of its terms


def test_a_schema_needs_distinct_features() -> None:
    age = NumericFeature(**AGE)
    with pytest.raises(ValueError, match="two features are named 'age'"):
        FeatureSchema(features=(age, age), diagnosis=DIAGNOSIS)
    with pytest.raises(ValueError, match="at least one feature"):
        FeatureSchema(features=(), diagnosis=DIAGNOSIS)


def test_the_number_of_columns_is_bounded() -> None:
    terms = tuple(f"t{i}" for i in range(MAX_CLASSES))
    wide = tuple(
        TermSetFeature(name=f"f{i}", path="symptoms", classes=terms, other=False) for i in range(17)
    )
    assert FeatureSchema(features=wide[:16], diagnosis=DIAGNOSIS).feature_count == 4096
    with pytest.raises(ValueError, match="4352 columns, at most 4096"):
        FeatureSchema(features=wide, diagnosis=DIAGNOSIS)


@given(st.integers(-(10**12) + 1, 10**12 - 1), st.integers(0, 10**12 - 1))
def test_decimals_are_exact_and_reals_nearest(whole: int, fraction: int) -> None:
    text = f"{whole}.{fraction:012d}"
    sign = -1 if text.startswith("-") else 1
    value = whole + sign * Fraction(fraction, 10**12)
    assert decimal(text) == value
    assert real(text) == value.numerator / value.denominator


@pytest.mark.parametrize(
    "text",
    ["", "-", "1.", ".5", "+1", "01", "1e3", "1,5", "nan", "inf", "1_0", "1\n", "\u0661", " 1"],
)
def test_what_is_not_a_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a decimal"):
        decimal(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" Chest-Pain ", "chest_pain"),
        ("chest__pain", "chest_pain"),
        ("ST-T abnormality", "st_t_abnormality"),
        ("\ufb01brosis", "fibrosis"),
        ("Übelkeit", "übelkeit"),
        ("Stra\u00dfe", "strasse"),
        ("I21.0", "i21_0"),
        ("--", ""),
    ],
)
def test_terms_have_one_spelling(text: str, canonical: str) -> None:
    assert canonical_term(text) == canonical


@given(st.text())
def test_the_canonical_spelling_is_a_fixed_point(text: str) -> None:
    assert canonical_term(canonical_term(text)) == canonical_term(text)
