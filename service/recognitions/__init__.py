"""Recognitions: who acted in some episodes, asked of the models and adaptations of a server. Stateless.

Does not know HTTP.
"""

from service.recognitions.agents import Agent, AgentKind
from service.recognitions.drift import DriftWatch
from service.recognitions.service import Recognised, Recognitions

__all__ = ["Agent", "AgentKind", "DriftWatch", "Recognised", "Recognitions"]
