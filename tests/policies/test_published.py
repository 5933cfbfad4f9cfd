"""The published openvla-7b: its configuration, the full-size network, its tokenizer files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from tokenizers import decoders as decoding

from policies.factory import load_policy
from policies.openvla.checkpoint import build_empty, load_model, to_original
from policies.openvla.config import CheckpointError, OpenVLAConfig, read_config
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import (
    BOS_ID,
    LLAMA_EMPTY_ID,
    check_tokenizer,
    encode_prompt,
    load_tokenizer,
)

PARAMETERS = 7_541_237_184
PAD_ID = 32000
DATA_SETS = ("austin_buds_dataset", "bridge_orig", "fractal20220817_data", "viola")


def statistics(scale):
    numbers = [scale * value for value in (0.03, 0.04, 0.04, 0.08, 0.08, 0.2)]
    action = {
        "mask": [True] * 6 + [False],
        "max": [2 * n for n in numbers] + [1.0],
        "mean": [0.0] * 7,
        "min": [-2 * n for n in numbers] + [0.0],
        "q01": [-n for n in numbers] + [0.0],
        "q99": [*numbers, 1.0],
        "std": numbers + [0.5],
    }
    zeros = {name: [0.0] * 7 for name in ("max", "mean", "min", "q01", "q99", "std")}
    return {"action": action, "num_trajectories": 60064, "num_transitions": 2135463,
            "proprio": zeros}  # fmt: skip


# The fields of the published config.json; of its 25 data sets, four.
CONFIG = {
    "arch_specifier": "no-align+fused-gelu-mlp",
    "architectures": ["OpenVLAForActionPrediction"],
    "auto_map": {
        "AutoConfig": "configuration_prismatic.OpenVLAConfig",
        "AutoModelForVision2Seq": "modeling_prismatic.OpenVLAForActionPrediction",
    },
    "hf_llm_id": "meta-llama/Llama-2-7b-hf",
    "image_resize_strategy": "resize-naive",
    "image_sizes": [224, 224],
    "llm_backbone_id": "llama2-7b-pure",
    "llm_max_length": 2048,
    "model_type": "openvla",
    "n_action_bins": 256,
    "norm_stats": {name: statistics(1 + i) for i, name in enumerate(DATA_SETS)},
    "output_projector_states": False,
    "pad_to_multiple_of": 64,
    "pad_token_id": PAD_ID,
    "text_config": {
        "model_type": "llama",
        "pad_token_id": PAD_ID,
        "torch_dtype": "bfloat16",
        "vocab_size": 32064,
    },
    "timm_model_ids": ["vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"],
    "timm_override_act_layers": [None, None],
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.1",
    "use_fused_vision_backbone": True,
    "vision_backbone_id": "dinosiglip-vit-so-224px",
}
# ImageNet's, rounded to bfloat16: what a published folder may hold.
PREPROCESSOR = {
    "auto_map": {"AutoImageProcessor": "processing_prismatic.PrismaticImageProcessor"},
    "image_processor_type": "PrismaticImageProcessor",
    "image_resize_strategy": "resize-naive",
    "input_sizes": [[3, 224, 224], [3, 224, 224]],
    "interpolations": ["bicubic", "bicubic"],
    "means": [[0.484375, 0.455078125, 0.40625], [0.5, 0.5, 0.5]],
    "stds": [[0.228515625, 0.2236328125, 0.224609375], [0.5, 0.5, 0.5]],
    "tvf_do_letterbox": False,
    "tvf_letterbox_fill": None,
    "use_fused_vision_backbone": True,
}


@pytest.fixture(scope="module")
def shapes():
    model = build_empty(OpenVLAConfig.from_dict(CONFIG), torch.bfloat16, "config.json")
    return {to_original(name): tuple(value.shape) for name, value in model.state_dict().items()}


def test_the_full_size_network_has_the_published_parameters(shapes):
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == PARAMETERS


def test_the_full_size_network_has_the_published_names_and_shapes(shapes):
    def blocks(prefix):
        return {int(n.removeprefix(prefix).split(".")[0]) for n in shapes if n.startswith(prefix)}

    dino, siglip = "vision_backbone.featurizer.", "vision_backbone.fused_featurizer."
    llama = "language_model.model."
    assert blocks(f"{dino}blocks.") == set(range(24))
    assert blocks(f"{siglip}blocks.") == set(range(27))
    assert blocks(f"{llama}layers.") == set(range(32))
    known = {
        f"{dino}cls_token": (1, 1, 1024),
        f"{dino}reg_token": (1, 4, 1024),
        f"{dino}pos_embed": (1, 256, 1024),
        f"{dino}patch_embed.proj.weight": (1024, 3, 14, 14),
        f"{dino}blocks.23.ls1.scale_factor": (1024,),
        f"{dino}blocks.23.ls2.scale_factor": (1024,),
        f"{dino}blocks.23.attn.qkv.weight": (3072, 1024),
        f"{dino}blocks.23.mlp.fc1.weight": (4096, 1024),
        f"{dino}norm.weight": (1024,),
        f"{siglip}pos_embed": (1, 256, 1152),
        f"{siglip}patch_embed.proj.weight": (1152, 3, 14, 14),
        f"{siglip}blocks.26.attn.qkv.bias": (3456,),
        f"{siglip}blocks.26.mlp.fc1.weight": (4304, 1152),
        f"{siglip}attn_pool.latent": (1, 1, 1152),
        f"{siglip}attn_pool.kv.weight": (2304, 1152),
        f"{siglip}attn_pool.mlp.fc2.weight": (1152, 4304),
        "projector.fc1.weight": (8704, 2176),
        "projector.fc2.weight": (4096, 8704),
        "projector.fc3.weight": (4096, 4096),
        f"{llama}embed_tokens.weight": (32064, 4096),
        f"{llama}layers.31.self_attn.k_proj.weight": (4096, 4096),
        f"{llama}layers.31.mlp.down_proj.weight": (4096, 11008),
        f"{llama}norm.weight": (4096,),
        "language_model.lm_head.weight": (32064, 4096),
    }
    assert {name: shapes.get(name) for name in known} == known
    assert not [name for name in shapes if "gamma" in name or "inv_freq" in name]


def test_the_published_configuration_is_understood(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    config = read_config(tmp_path)
    assert config.tokenizer_vocab_size == 32000
    assert config.numbers_per_action == 7
    assert config.normalization.means[0] == (0.484375, 0.455078125, 0.40625)
    with pytest.raises(CheckpointError, match="choose one of austin_buds_dataset, bridge_orig"):
        ActionStatistics.from_norm_stats(config.norm_stats, None)
    assert ActionStatistics.from_norm_stats(config.norm_stats, "bridge_orig").q99[2] == 0.08


# --- tokenizer ------------------------------------------------------------------------------


def llama_tokenizer():
    """Built like Llama's: byte fallback, "▁" for spaces, 32000 tokens of which few are used."""
    text = "In: What action should the robot take to lift it?Out"
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    vocabulary |= {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    letters = sorted(set(text) - {" "})
    vocabulary |= {letter: 300 + i for i, letter in enumerate(letters)}
    vocabulary |= {"▁t": 400, "▁th": 401}
    vocabulary["▁"] = LLAMA_EMPTY_ID
    taken = set(vocabulary.values())
    vocabulary |= {f"<unused{i}>": i for i in range(32000) if i not in taken}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[("▁", "t"), ("▁t", "h")],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoding.Replace("▁", " "),
            decoding.ByteFallback(),
            decoding.Fuse(),
            decoding.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken(name) for name in ("<unk>", "<s>", "</s>")])
    return tokenizer


@pytest.fixture
def tokenizer_folder(tmp_path) -> Path:
    llama_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<PAD>": PAD_ID}))
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<PAD>"})
    )
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "LlamaTokenizer", "auto_map": {"AutoProcessor": "evil.X"}})
    )
    return tmp_path


def test_published_tokenizer_files_load(tokenizer_folder):
    tokenizer = load_tokenizer(tokenizer_folder)
    assert tokenizer.convert_tokens_to_ids("<PAD>") == PAD_ID
    check_tokenizer(tokenizer, OpenVLAConfig.from_dict(CONFIG), "folder")
    ids = encode_prompt(tokenizer, "Lift it")
    assert ids[0] == BOS_ID
    assert ids.count(BOS_ID) == 1
    assert ids[-1] == LLAMA_EMPTY_ID  # the original ends every prompt with it
    assert 401 in ids
    assert 0 not in ids
    text = tokenizer.decode(ids[1:-1])
    assert text == "In: What action should the robot take to lift it?\nOut:"


def test_an_added_token_elsewhere_is_named(tokenizer_folder):
    (tokenizer_folder / "added_tokens.json").write_text(json.dumps({"<PAD>": 7}))
    with pytest.raises(CheckpointError, match="'<PAD>': expected the id 7, got 32000"):
        load_tokenizer(tokenizer_folder)


@pytest.mark.parametrize(
    ("pad", "bins", "first", "last"), [(0, 256, 31808, 32063), (128, 256, 31680, 31935)]
)
def test_numbers_elsewhere_than_on_the_last_tokens_are_refused(
    tokenizer_folder, pad, bins, first, last
):
    config = OpenVLAConfig.from_dict({**CONFIG, "pad_to_multiple_of": pad, "n_action_bins": bins})
    message = rf"folder: the ids from {first} to {last} stand for numbers .*{pad}, n_action_bins"
    with pytest.raises(CheckpointError, match=message + ".* to end at 31999"):
        check_tokenizer(load_tokenizer(tokenizer_folder), config, "folder")


def test_only_a_sentencepiece_model_is_said_clearly(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e")
    with pytest.raises(CheckpointError, match="found only a sentencepiece tokenizer.model"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    with pytest.raises(CheckpointError, match="expected a tokenizer.json, found none"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_that_begins_otherwise_is_refused(tokenizer_folder):
    tokenizer = Tokenizer(models.BPE(vocab={"<s>": 0, "a": 1}, merges=[]))
    tokenizer.save(str(tokenizer_folder / "tokenizer.json"))
    (tokenizer_folder / "added_tokens.json").unlink()
    with pytest.raises(CheckpointError, match="expected '<s>' to be 1, got 0"):
        check_tokenizer(load_tokenizer(tokenizer_folder), OpenVLAConfig.from_dict(CONFIG), "x")


# --- what is never run ----------------------------------------------------------------------


def test_python_and_pickled_files_beside_the_weights_are_ignored(tiny_folder, tmp_path):
    ran = tmp_path / "ran"
    for name in ("modeling_prismatic.py", "configuration_prismatic.py", "__init__.py"):
        (tiny_folder / name).write_text(f"open({str(ran)!r}, 'w')\n")
    (tiny_folder / "training_args.bin").write_bytes(b"\x80\x04.")
    values = json.loads((tiny_folder / "config.json").read_text())
    values["auto_map"] = CONFIG["auto_map"]
    (tiny_folder / "config.json").write_text(json.dumps(values))
    load_model(tiny_folder)
    load_policy(str(tiny_folder))
    assert not ran.exists()
