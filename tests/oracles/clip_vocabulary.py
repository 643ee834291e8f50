"""Writes SD v1.5's tokenizer folder (vocab.json, merges.txt, special_tokens_map.json, tokenizer_config.json) from open_clip_torch's copy of CLIP's merges.

    python tests/oracles/clip_vocabulary.py FOLDER

tokenizer.py asks transformers for its ids.
"""
import gzip
import json
import os
import sys

import open_clip
from open_clip.tokenizer import bytes_to_unicode

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
source = os.path.join(os.path.dirname(open_clip.__file__), "bpe_simple_vocab_16e6.txt.gz")
merges = gzip.open(source).read().decode("utf-8").split("\n")[1:48895]
symbols = list(bytes_to_unicode().values())
tokens = symbols + [symbol + "</w>" for symbol in symbols] + ["".join(merge.split()) for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
assert len(tokens) == 49408


def special(content):
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


roles = {"bos_token": special("<|startoftext|>"), "eos_token": special("<|endoftext|>"), "pad_token": "<|endoftext|>", "unk_token": special("<|endoftext|>")}
with open(f"{folder}/vocab.json", "w", encoding="utf-8") as file:
    json.dump({token: number for number, token in enumerate(tokens)}, file, ensure_ascii=False)
with open(f"{folder}/merges.txt", "w", encoding="utf-8") as file:
    file.write("#version: 0.2\n" + "\n".join(merges) + "\n")
with open(f"{folder}/special_tokens_map.json", "w", encoding="utf-8") as file:
    json.dump(roles, file, indent=2)
with open(f"{folder}/tokenizer_config.json", "w", encoding="utf-8") as file:
    json.dump({**roles, "do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}, file, indent=2)
