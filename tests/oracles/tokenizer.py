"""Token ids of transformers' CLIPTokenizer on plain and awkward prompts, for tests/diffusion/tokenizer_test.cpp.

    python tests/oracles/tokenizer.py tests/data/parity/pocket_tokenizer SD_FOLDER/tokenizer > tests/data/parity/token_ids.json

The first folder is what write_pocket_tokenizer writes for the test's words, the second what clip_vocabulary.py writes.
"""
import json
import os
import sys

from transformers import CLIPTokenizer

PROMPTS = [
    "", " ", "a large red star", "two blue rings", "three small green crosses", "A LARGE\tRed\n  star", "circle circles triangle tree three",
    "a red star, a blue ring!", "redstar", "star's stars' don't 'll '' ''s I'VE we'Re", "12 stars, 3.5% of 2024", "snow_man __init__ a-b",
    "na\u00efve caf\u00e9 \u2014 d\u00e9j\u00e0 vu", "nai\u0308ve cafe\u0301", "\u65e5\u672c\u306e\u685c \ud55c\uad6d\uc5b4", "\u1112\u1161\u11ab",
    "\U0001F600\U0001F469\u200d\U0001F469\u200d\U0001F467 ok", "\u0130STANBUL \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03c2 \u1e9e \u01c5 \u212a \u2126",
    "\uff46\uff55\uff4c\uff4c \ufb01ne \u201cquotes\u201d \u2018s", "x\u00b2\u00bd\u2167\u0663 \u0e53", "a\u200bb\u00a0c\u3000d\u0085e\u001cf\u2028g\u180eh\ufeffi",
    "a\u0000b\u0007c\u007f", "&amp; &lt;b&gt; <b>", "a <|endoftext|> star", "a<|startoftext|>star", "A <|ENDOFTEXT|> STAR", "<|StartOfText|>x", "<|endoftext|",
    "\u0301e \u0301", "\u0915\u094d\u0937 \u0e01\u0e33 \u0627\u0644\u0639\u0631\u0628\u064a\u0629", "$\u20ac\u00a3 +=~^ @#*", "a " * 90, "supercalifragilistic" * 12,
    "a red \U0010FFFD \U000E0001 star", "\u1fa2\u0345 \u0344 \u0958 \u2adc \u3099\u304b\u3099",
]

result = {"prompts": PROMPTS}
for name, folder in (("pocket", sys.argv[1]), ("sd", sys.argv[2])):
    assert os.path.isdir(folder), folder
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    result[name] = [tokenizer(prompt, padding="max_length", truncation=True).input_ids for prompt in PROMPTS]


def framed_short(ids):
    """Without the run of padding at the end, which the C++ test adds again."""
    while len(ids) > 2 and ids[-1] == ids[-2]:
        ids = ids[:-1]
    return ids


for name in ("pocket", "sd"):
    result[name + "_length"] = len(result[name][0])
    result[name] = [framed_short(ids) for ids in result[name]]
parts = [f'"{key}": ' + (json.dumps(value) if isinstance(value, int) else "[\n" + ",\n".join(json.dumps(item) for item in value) + "\n]")
         for key, value in result.items()]
print("{" + ",\n".join(parts) + "}")
