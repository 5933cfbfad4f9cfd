"""Task planning by a language model; whatever it says is read by the grammar, or refused.

So a model can only choose among what the tasks know: it never puts words into `/instruction` that
no policy was taught, nor things that are not there.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vla_ros.task_planning.grammar import GrammarPlanner
from vla_ros.task_planning.phrases import FORMS
from vla_ros.task_planning.step import Step, TaskPlanningError

MOST_STEPS = 30
MOST_BYTES = 1_000_000  # of an answer
NEW_TOKENS = 400
Messages = list[dict[str, str]]  # role and content, as OpenAI's chat has them


class LanguageModelPlanner:
    """`complete` answers a chat with text: `OpenAIChat`, `LocalChat`, or a test's own."""

    def __init__(self, complete: Callable[[Messages], str], attempts: int = 2) -> None:
        if attempts < 1:
            raise ValueError(f"attempts: expected 1 or more, got {attempts}")
        self._complete = complete
        self._attempts = attempts
        self._grammar = GrammarPlanner()

    def plan(self, instruction: str, scene: Sequence[str]) -> tuple[Step, ...]:
        """See `TaskPlanner`. An answer that cannot be used is sent back with the reason, once."""
        if not instruction.strip():
            raise TaskPlanningError("instruction: expected words, got nothing")
        messages = [
            {"role": "system", "content": system_prompt(scene)},
            {"role": "user", "content": instruction},
        ]
        why = ""
        for _ in range(self._attempts):
            answer = self._complete(messages)
            try:
                return self._read(answer, scene)
            except TaskPlanningError as error:
                why = str(error)
            messages += [
                {"role": "assistant", "content": answer},
                {"role": "user", "content": f"That cannot be used: {why}. Answer again."},
            ]
        raise TaskPlanningError(f"the language model gave no usable plan: {why}")

    def _read(self, answer: str, scene: Sequence[str]) -> tuple[Step, ...]:
        found = re.search(r"\[.*\]", answer, re.DOTALL)
        try:
            parts = json.loads(found[0]) if found else None
        except (ValueError, RecursionError):
            parts = None
        if not isinstance(parts, list) or not parts or len(parts) > MOST_STEPS:
            raise TaskPlanningError(
                f"expected a JSON list of 1 to {MOST_STEPS} instructions, got {answer[:120]!r}"
            )
        steps: list[Step] = []
        for part in parts:
            if not isinstance(part, str):
                raise TaskPlanningError(f"expected instructions as text, got {part!r}")
            steps += self._grammar.plan(part, scene)
        return tuple(steps)


def system_prompt(scene: Sequence[str]) -> str:
    """What the model is told: the grammar and the things there are."""
    phrases = "\n".join(f"- {form.phrases[0]}" for form in FORMS)
    things = ", ".join(scene) if scene else "not described"
    return (
        "You plan for a robot arm at a table. Break the user's request into steps, in order. Each "
        f"step has one of these forms:\n{phrases}\n"
        "Replace what is in braces; relation and direction are words like 'to the left of', "
        f"'left'. Things on the table: {things}. Name only these, with their color. Answer with a "
        'JSON list of strings and nothing else, like ["open the red drawer"].'
    )


class OpenAIChat:
    """A server with OpenAI's chat completions (also vLLM, llama.cpp, Ollama)."""

    def __init__(
        self, url: str, model: str, api_key: str | None = None, timeout_s: float = 60.0
    ) -> None:
        """`url`: up to and with `/v1`. Raises `ValueError` for what is no web address."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"language-model: expected http:// or https://, got {url!r}")
        if not model:
            raise ValueError("model: expected the name that the server gives its model, got none")
        self._url = url.rstrip("/") + "/chat/completions"
        self._model, self._api_key, self._timeout_s = model, api_key, timeout_s
        self._open = urllib.request.build_opener(_NoRedirect).open  # a key goes nowhere else

    def __call__(self, messages: Messages) -> str:
        body = {"model": self._model, "messages": messages, "temperature": 0}
        headers = {"Content-Type": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)
        try:
            with self._open(request, timeout=self._timeout_s) as response:
                answer = response.read(MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            raise TaskPlanningError(f"{self._url}: {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:  # refused, unknown, slow, cut off
            raise TaskPlanningError(f"{self._url}: {getattr(error, 'reason', error)}") from None
        return _text_of(answer, self._url)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


def _text_of(answer: bytes, url: str) -> str:
    try:
        if len(answer) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        text = json.loads(answer)["choices"][0]["message"]["content"]
        if not isinstance(text, str):
            raise ValueError("content is no text")
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise TaskPlanningError(f"{url}: expected OpenAI's chat completion ({error!r})") from None
    return text


class LocalChat:
    """A causal language model in a folder, by transformers. Its code is never run, only weights."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Raises `TaskPlanningError` for a folder that has no such model in safetensors."""
        if not (folder / "config.json").is_file():
            raise TaskPlanningError(
                f"language-model: expected http://..., https://... or a model's folder with a "
                f"config.json, got {str(folder)!r}"
            )
        from transformers import AutoModelForCausalLM, AutoTokenizer

        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, **options)
        except (OSError, ValueError, KeyError) as error:
            first = str(error).strip().splitlines()[0]
            raise TaskPlanningError(f"language-model: {folder}: {first}") from None
        self._model = model.to(device).eval()

    def __call__(self, messages: Messages) -> str:
        import torch

        if self._tokenizer.chat_template:
            text = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        else:
            text = "\n".join(f"{each['role']}: {each['content']}" for each in messages)
            text += "\nassistant:"
        tokens = self._tokenizer(text, return_tensors="pt").to(self._model.device)
        tokens.pop("token_type_ids", None)
        with torch.inference_mode():
            made = self._model.generate(**tokens, max_new_tokens=NEW_TOKENS, do_sample=False)
        new = made[0, tokens["input_ids"].shape[1] :]
        return self._tokenizer.decode(new, skip_special_tokens=True)
