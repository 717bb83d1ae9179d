"""What the four hospitals pin: features, model, encoding, update rule, noise, number of rounds.

Every constant of the features is public clinical knowledge, chosen without the patients: thresholds
and spreads of adults referred for chest pain, so that one unit is about one standard deviation. The
constants in ``CHOSEN`` were selected by cross-validation inside the training rows
(``python -m benchmarks.heart_disease --select``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Final, Literal

from benchmarks.heart_disease.dataset import HOSPITALS
from secagg.contribution import ContributionRule
from secagg.model import ModelSpec, UpdateRule, linear_parameters
from secagg.policy import Member, NoiseSpec, Policy, VectorSpec, checked
from secagg.privacy.accounting import RHO_UNIT, epsilon_to_zcdp
from secagg.privacy.mechanism import Mechanism
from secagg.schema import (
    ChoiceFeature,
    Diagnosis,
    DiagnosisClass,
    FeatureSchema,
    NumericFeature,
    TermSetFeature,
)

Mode = Literal["exact", "at_least", "local"]

DELTA: Final = "0.001"
CORRUPT: Final = 1
DROPOUTS: Final = 1
MIN_SURVIVORS: Final = 3

# 240^2 + 44^2 = 244^2: the sensitivity is an integer, so nothing is lost by rounding it up.
_GRADIENT_BOUND: Final = 240
_COUNT_WEIGHT: Final = 44


@dataclass(frozen=True, slots=True)
class Constants:
    """What is selected.

    rounds: training rounds, which share the privacy budget equally.
    scale: units per 1.0 of gradient; a patient's gradient is clipped at 240 / scale.
    learning_rate: a decimal.
    cholesterol_missing: value of the indicator of a missing cholesterol, a decimal.
    """

    rounds: int
    scale: int
    learning_rate: str
    cholesterol_missing: str


@dataclass(frozen=True, slots=True)
class Target:
    """A guarantee to train under, for a patient, over all rounds together.

    mode: "exact" and "at_least" protect against the server with one hospital, who see the sums;
        "local" against everybody together, who see the hospital's own noised vectors.
    epsilon, delta: decimals.
    """

    mode: Mode
    epsilon: str
    delta: str = DELTA

    def noise(self, spec: ModelSpec, rounds: int) -> NoiseSpec:
        """What a policy pins so that ``rounds`` equal rounds meet the target."""
        budget = Fraction(epsilon_to_zcdp(Fraction(self.epsilon), Fraction(self.delta)))
        return NoiseSpec(
            mode=self.mode,
            unit="patient",
            sensitivity=spec.contribution.sensitivity,
            rho_units=floor(budget / RHO_UNIT / rounds),
            delta=self.delta,
        )

    def mechanism(self, spec: ModelSpec, rounds: int) -> Mechanism:
        """The noise of one of ``rounds`` equal rounds."""
        noise = self.noise(spec, rounds)
        return Mechanism.calibrated(
            mode=noise.mode,
            sensitivity=noise.sensitivity,
            rho=noise.rho_units * RHO_UNIT,
            roster=len(HOSPITALS),
            corrupt=CORRUPT,
            min_survivors=MIN_SURVIVORS,
        )


CHOSEN: Final = Constants(rounds=6, scale=512, learning_rate="1", cholesterol_missing="8")


def schema(constants: Constants = CHOSEN) -> FeatureSchema:
    """The features of a record, and heart disease (any) against none."""
    return FeatureSchema(
        features=(
            _number("age", "age", minimum="0", maximum="130", centre="50", half_range="10"),
            ChoiceFeature(
                name="sex",
                path="sex",
                classes=("male",),
                baseline=("female",),
                other=True,
                on="1",
                off="-1",
            ),
            TermSetFeature(
                name="symptoms",
                path="symptoms",
                classes=("asymptomatic", "exercise_induced_angina"),
                baseline=("typical_angina", "atypical_angina", "non_anginal_chest_pain"),
                on="1",
                off="-1",
            ),
            # 130 mmHg: where hypertension begins (ACC/AHA 2017).
            _number(
                "systolic",
                "vitals.bp.systolic",
                minimum="40",
                maximum="300",
                centre="130",
                half_range="20",
            ),
            # 150 per minute: nine tenths of the age-predicted maximum at 55 (220 - age).
            _number(
                "max_hr",
                "vitals.max_hr",
                minimum="20",
                maximum="260",
                centre="150",
                half_range="25",
            ),
            # 1 mm: the criterion of a positive exercise test.
            _number(
                "st_depression",
                "labs.st_depression",
                minimum="-10",
                maximum="15",
                centre="1",
                half_range="1",
            ),
            # 220 mg/dl: the middle of the borderline range (ATP III).
            _number(
                "chol",
                "labs.chol",
                minimum="40",
                maximum="1000",
                centre="220",
                half_range="50",
                missing_indicator=constants.cholesterol_missing,
            ),
        ),
        diagnosis=Diagnosis(
            classes=(
                DiagnosisClass(name="no_heart_disease"),
                DiagnosisClass(name="heart_disease", terms=("heart_disease",)),
            ),
            other="no_heart_disease",
        ),
    )


def model_spec(constants: Constants = CHOSEN) -> ModelSpec:
    """Logistic regression over ``schema``, one update per round."""
    return ModelSpec(
        parameters=linear_parameters(schema(constants)),
        contribution=ContributionRule(
            scale=constants.scale,
            gradient_bound=_GRADIENT_BOUND,
            count_weight=_COUNT_WEIGHT,
            max_patients=512,
        ),
        update=UpdateRule(learning_rate=constants.learning_rate, count_floor=200),
    )


def policy(target: Target, server_key: str, identity_keys: Mapping[str, str]) -> Policy:
    """The whole policy of the four hospitals, checked.

    server_key: Ed25519, 64 hex digits. identity_keys: the same for each of ``HOSPITALS``.
    """
    spec = model_spec()
    return checked(
        Policy(
            consortium="heart-disease",
            server_key=server_key,
            roster=tuple(Member(name, identity_keys[name]) for name in HOSPITALS),
            corrupt=CORRUPT,
            dropouts=DROPOUTS,
            min_survivors=MIN_SURVIVORS,
            vector=VectorSpec(
                dimension=spec.dimension,
                max_value=spec.contribution.coordinate_bound,
                scale=spec.contribution.scale,
            ),
            noise=target.noise(spec, CHOSEN.rounds),
            model=spec,
            features=schema(),
        )
    )


def _number(
    name: str,
    path: str,
    *,
    minimum: str,
    maximum: str,
    centre: str,
    half_range: str,
    missing_indicator: str = "0",
) -> NumericFeature:
    """A number that counts up to two half-ranges from its centre, where it stands if missing."""
    return NumericFeature(
        name=name,
        path=path,
        minimum=minimum,
        maximum=maximum,
        centre=centre,
        half_range=half_range,
        default=centre,
        limit="2",
        missing_indicator=missing_indicator,
    )
