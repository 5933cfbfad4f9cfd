"""Which task planner: the grammar, a server, or a model in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from vla_ros.task_planning.grammar import GrammarPlanner
from vla_ros.task_planning.language_model import LanguageModelPlanner, LocalChat, OpenAIChat
from vla_ros.task_planning.step import TaskPlanner

API_KEY = "OPENAI_API_KEY"  # the environment variable; servers of one's own need none


def choose_task_planner(
    language_model: str = "", model: str = "", timeout_s: float = 60.0
) -> TaskPlanner:
    """`language_model`: empty for the grammar alone, `http(s)://.../v1`, or a folder.

    Raises `ValueError` and `TaskPlanningError` for what is neither.
    """
    if not language_model:
        if model:
            raise ValueError("model: means nothing without --language-model")
        return GrammarPlanner()
    if "://" in language_model:
        chat = OpenAIChat(language_model, model, os.environ.get(API_KEY), timeout_s)
        return LanguageModelPlanner(chat)
    if model:
        raise ValueError("model: the folder is the model; give a name with a server only")
    return LanguageModelPlanner(LocalChat(Path(language_model).expanduser()))
