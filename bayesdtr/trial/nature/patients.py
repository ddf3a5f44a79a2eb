"""Patients of a batch of simulated trials: all that does not depend on treatment, and their answers to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class Patients:
    """A batch of trials' patients in the order of enrolment, `size` in each, whether or not the trial will recruit them.

    Times are in the design's unit. All numbers depend on the seed, the replicate's own number and the patient's alone, so they are the same for
    every design with the same scenario: comparisons are on common random numbers.

    Attributes
    ----------
    replicates : array of int, shape (trial,)
    enrolled : array, shape (trial, patient)
        Time of enrolment, not decreasing: of the first decision.
    decided : array, shape (trial, patient, decision)
        Time at which each decision would be made: when the responses before it are known.
    answered : array, shape (trial, patient, response)
        Time at which each response would be known; +inf after the patient has dropped out.
    complete : array, shape (trial, patient)
        Time at which follow-up is over: the last response known, or dropped out.
    columns : mapping of str to array, shape (trial, patient)
        Baseline covariates: numbers, codes of labels.
    cluster : array of int, shape (trial, patient), or None
    luck : array, shape (trial, patient, decision)
        Uniform numbers that assignments are drawn with.
    """

    replicates: np.ndarray
    enrolled: np.ndarray
    decided: np.ndarray
    answered: np.ndarray
    complete: np.ndarray
    columns: Mapping[str, np.ndarray]
    cluster: np.ndarray | None
    luck: np.ndarray


class Nature(Protocol):
    """A scenario bound to a study and a design's calendar."""

    def patients(self, seed: int, replicates: np.ndarray) -> Patients:
        """Draw the patients of some replicates."""
        ...

    def respond(self, patients: Patients, response: int, columns: Mapping[str, np.ndarray], received: Mapping[str, np.ndarray],
                trial: np.ndarray, patient: np.ndarray) -> np.ndarray:
        """What a response of some patients will be, known or not yet.

        Parameters
        ----------
        patients : Patients
        response : int
            From 0, in time order.
        columns : mapping of str to array, shape (m,)
            Histories before the response, by assignment.
        received : mapping of str to array, shape (m,)
            As `columns`, with the options that patients in fact took: all that differs is non-adherence.
        trial, patient : array of int, shape (m,)

        Returns
        -------
        array of float, shape (m,)
            Numbers, or codes of labels.
        """
        ...

    def received(self, patients: Patients, decision: int, assigned: np.ndarray, trial: np.ndarray, patient: np.ndarray) -> np.ndarray:
        """Codes of the options in fact taken by patients assigned to given ones, shape (m,)."""
        ...
