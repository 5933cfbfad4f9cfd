"""Language models behind the grammar: a small server here, a tiny model from a folder."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch

from vla_ros.task_planning.choose import choose_task_planner
from vla_ros.task_planning.language_model import LanguageModelPlanner, LocalChat, OpenAIChat
from vla_ros.task_planning.step import TaskPlanningError

SCENE = ("red cube", "blue bowl", "red drawer")
GOOD = '["put the red cube into the blue bowl", "close the red drawer"]'


@pytest.fixture
def server():
    """Answers with `server.answers`, one after the other; keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.asked.append((self.path, dict(self.headers), json.loads(body)))
            status, answer = self.server.answers.pop(0)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:1/v1")
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *args):
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    found.asked, found.answers = [], []
    found.url = f"http://127.0.0.1:{found.server_port}/v1"
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def said(text, status=200):
    return status, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


def test_a_servers_plan_is_read_by_the_grammar(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server.answers = [said(f"Here you are:\n```json\n{GOOD}\n```")]
    planner = choose_task_planner(server.url, "tiny")
    steps = planner.plan("make it neat", SCENE)
    assert [step.task for step in steps] == ["PickPlace", "CloseDrawer"]
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert body["model"] == "tiny" and body["temperature"] == 0
    assert "red cube, blue bowl, red drawer" in body["messages"][0]["content"]
    assert body["messages"][1] == {"role": "user", "content": "make it neat"}


def test_an_answer_that_cannot_be_used_is_sent_back_with_the_reason(server):
    server.answers = [said('["throw the red cube"]'), said(GOOD)]
    steps = LanguageModelPlanner(OpenAIChat(server.url, "tiny")).plan("make it neat", SCENE)
    assert len(steps) == 2
    again = server.asked[1][2]["messages"]
    assert again[2] == {"role": "assistant", "content": '["throw the red cube"]'}
    assert "cannot read 'throw the red cube'" in again[3]["content"]


@pytest.mark.parametrize(
    "answer",
    ["no", "[]", "[1]", '{"steps": 1}', '["open the green drawer"]', '["lift the red cube'],
)
def test_a_model_that_goes_on_giving_nonsense_is_refused(answer):
    asked = []

    def complete(messages):
        asked.append(list(messages))
        return answer

    with pytest.raises(TaskPlanningError, match="gave no usable plan"):
        LanguageModelPlanner(complete, attempts=3).plan("make it neat", SCENE)
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((500, "oh"), "500 Internal Server Error"),
        ((302, ""), "302 Found"),  # a key is not carried elsewhere
        ((200, "<html>"), "expected OpenAI's chat completion"),
        ((200, '{"choices": []}'), "expected OpenAI's chat completion"),
        ((200, " " * 1_000_100), "more than 1000000 bytes"),
    ],
)
def test_a_server_that_does_not_answer_as_it_should_is_named(server, answer, message):
    server.answers = [answer]
    with pytest.raises(TaskPlanningError, match=message):
        OpenAIChat(server.url, "tiny")([{"role": "user", "content": "hello"}])


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(TaskPlanningError, match="127.0.0.1:1/v1/chat/completions: .*refused"):
        OpenAIChat("http://127.0.0.1:1/v1", "tiny", timeout_s=2.0)([])


@pytest.mark.parametrize(
    ("where", "model", "message"),
    [
        ("file:///etc/passwd", "x", "expected http:// or https://"),
        ("http://host/v1", "", "model: expected the name"),
        ("/nowhere", "", "a model's folder with a config.json, got '/nowhere'"),
        ("", "x", "model: means nothing without --language-model"),
    ],
)
def test_what_is_no_model_is_refused(where, model, message):
    with pytest.raises(ValueError, match=message):
        choose_task_planner(where, model)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A Llama of two layers that knows letters and nothing else."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_llm")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"</s>": 0, **{letter: i for i, letter in enumerate(alphabet, start=1)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=8192,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_local_model_runs_and_its_nonsense_is_refused(tiny_model, monkeypatch):
    monkeypatch.setattr("vla_ros.task_planning.language_model.NEW_TOKENS", 12)
    chat = LocalChat(tiny_model)
    text = chat([{"role": "user", "content": "hello"}])
    assert text == chat([{"role": "user", "content": "hello"}])
    with pytest.raises(TaskPlanningError, match="gave no usable plan"):
        LanguageModelPlanner(chat, attempts=1).plan("clear the table", SCENE)


def test_a_local_model_whose_weights_are_pickled_or_that_brings_code_is_refused(
    tiny_model, tmp_path
):
    for path in tiny_model.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(TaskPlanningError, match="safetensors"):
        LocalChat(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    about |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(about))
    (tmp_path / "mine.py").write_text("raise SystemExit('code was run')")
    with pytest.raises(TaskPlanningError, match=str(tmp_path)):
        LocalChat(tmp_path)
