"""2000 random awkward prompts and what three tokenizers make of them, for tests/diffusion/tokenizer_fuzz_test.cpp.

    python tests/oracles/tokenizer_fuzz.py tests/data/parity SD_FOLDER/tokenizer BERT/vocab.txt

The tokenizers are transformers' CLIPTokenizer and BertTokenizer and open_clip's SimpleTokenizer, each with the small vocabulary of the tests (pocket_tokenizer, and
bert_vocabulary.txt, which this script writes) and with the real one. Writes token_fuzz.json: the prompts, and of the ids a checksum for every 20 prompts. Prompts that
ftfy takes for text decoded in a wrong encoding are left out, because that repair is not reproduced, and so are those with unassigned characters. SD_FOLDER is what clip_vocabulary.py writes.
"""
import gzip
import importlib.util
import json
import os
import random
import sys
import tempfile
import unicodedata

import ftfy
from transformers import BertTokenizer, CLIPTokenizer

SEED, COUNT, BLOCK, LONGEST = 11, 2000, 20, 45
WORDS = ("a photo of the Cat CATS hedgehog kangaroo star large small red green BLUE circle triangle crosses naïve café déjà Ångström ÉCLAIR straße ŁÓDŹ İstanbul ΟΔΥΣΣΕΥΣ "
         "ΣΑΣ σας Σ Москва ёлка 日本の桜 東京タワー 한국어 中文字 ｆｕｌｌ ｗＩＤＥ ﾀｰﾝ ｶﾞ ﬁne oﬃce ǅungla ĳs العربية हिन्दी ไทย עברית ½ x² Ⅷ ٣٤ K Ω").split()
PIECES = ["'s", "'S", "'t", "'re", "'VE", "'m", "'LL", "'d", "'ſ", "’s", "“", "”", "‘", "„", "—", "–", "…", "¿", "!", "!!", "?", ".", ",", ";", ":", "_", "-", "%", "$", "€", "£",
          "+", "=", "<", ">", "^", "`", "|", "~", "#", "@", "*", "(", ")", "[", "]", "{", "}", "/", "\\", '"', "'", "0", "7", "42", "3.5", "2024", "😀", "👩‍👩‍👧", "🇩🇪", "❤️", "™", "°",
          "&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&#x27;", "&eacute;", "&EACUTE;", "&SZLIG;", "&notit;", "&amp", "&copy", "&AMP;amp;", "&amp;lt;", "&nbsp;", "&hellip;", "&#0;",
          "&#128;", "&#xD800;", "&#1114112;", "&#59;", "&#12a;", "&nosuch;", "&", "&#", "&#x;", "&frac12;", "&NotEqualTilde;", "<|endoftext|>", "<|startoftext|>", "<|ENDOFTEXT|>",
          "<end_of_text>", "<start_of_text>", "<END_OF_TEXT>", "<end_of_text", "[SEP]", "[CLS]", "[MASK]", "[sep]", "[UNK]", "##s", "<b>", "\x1b[36;44m", "\x1b[", "\x07", "\x00", "\x7f",
          "\x85", "\x92", "\u200b", "\u200d", "\ufeff", "\u00ad", "\ufffd", "\u0301", "e\u0301", "n\u0303", "\u0345", "\u1112\u1161\u11ab", "\u304b\u3099", "\ue000", "\u2028", "\u212b"]
SPACES = [" "] * 12 + ["  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2003", "\u1680", "\x0b", "\x0c"]


def prompt(rng):
    parts = []
    for _ in range(rng.randrange(1, 7)):
        parts.append(rng.choice(WORDS) if rng.random() < 0.55 else rng.choice(PIECES))
        if rng.random() < 0.15:
            parts.append(chr(rng.choice([rng.randrange(0x20, 0x7f), rng.randrange(0xa0, 0x250), rng.randrange(0x370, 0x560), rng.randrange(0x1e00, 0x2000),
                                         rng.randrange(0x2000, 0x2100), rng.randrange(0x3040, 0x3100), rng.randrange(0x4e00, 0x9fa6), rng.randrange(0xff00, 0xfff0)])))
        if rng.random() < 0.7:
            parts.append(rng.choice(SPACES))
    text = "".join(parts)
    if rng.random() < 0.05:
        text = text.upper()
    if rng.random() < 0.05:
        text = unicodedata.normalize("NFD", text)
    return text * 8 if rng.random() < 0.01 else text


def is_plain(text):
    """Assigned in the Unicode of every library that is compared, and no wrong encoding to ftfy."""
    known = all(unicodedata.category(character) != "Cn" for character in text)
    return known and len(text) <= LONGEST * 8 and ftfy.fix_text(text) == ftfy.fix_text(text, fix_encoding=False)


def open_clip_module():
    """Only the tokenizer: the package itself wants torchvision and timm."""
    folder = importlib.util.find_spec("open_clip").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", os.path.join(folder, "tokenizer.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small_open_clip(module, merges_file):
    with open(merges_file, encoding="utf-8") as file:
        merges = file.read().rstrip("\n")
    with tempfile.TemporaryDirectory() as folder:
        packed = os.path.join(folder, "merges.txt.gz")
        with gzip.open(packed, "wb") as file:
            file.write(merges.encode())
        return module.SimpleTokenizer(packed)


def write_bert_vocabulary(path, prompts):
    """The specials, every character that is left of the prompts alone and as a continuation, and some words and their parts."""
    characters = sorted({character for text in prompts for character in unicodedata.normalize("NFD", text.lower()) if character.isprintable() and ord(character) < 0x2000})
    words = "photo of the cat ##s hedge ##hog star large small red green blue circle tri ##angle cross ##es ##ta kang ##aroo cafe deja naive ##ive 日 本 の".split()
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [c for c in characters if c != " "][::2] + ["##" + c for c in characters if c != " "][::3] + words
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(dict.fromkeys(tokens)) + "\n")


def checksums(rows):
    """FNV-1a of 64 bits over the ids as 4 bytes each, a block of prompts at a time; each row ends with 2**32 - 1."""
    sums = []
    for begin in range(0, len(rows), BLOCK):
        value = 0xCBF29CE484222325
        for row in rows[begin:begin + BLOCK]:
            for number in list(row) + [0xFFFFFFFF]:
                for byte in int(number).to_bytes(4, "little"):
                    value = (value ^ byte) * 0x100000001B3 % 2**64
        sums.append(f"{value:016x}")
    return sums


def main():
    folder, sd, bert = sys.argv[1:4]
    rng = random.Random(SEED)
    prompts, left_out = [], 0
    while len(prompts) < COUNT:
        text = prompt(rng)
        if is_plain(text):
            prompts.append(text)
        else:
            left_out += 1
    print(f"{left_out} prompts left out", file=sys.stderr)
    small_bert = os.path.join(folder, "bert_vocabulary.txt")
    write_bert_vocabulary(small_bert, prompts)
    module = open_clip_module()
    result = {}
    for name, path in (("clip_small", os.path.join(folder, "pocket_tokenizer")), ("clip", sd)):
        tokenizer = CLIPTokenizer.from_pretrained(path, local_files_only=True)
        result[name] = [tokenizer(text, padding="max_length", truncation=True).input_ids for text in prompts]
    for name, tokenizer in (("open_clip_small", small_open_clip(module, os.path.join(folder, "pocket_tokenizer", "merges.txt"))), ("open_clip", module.SimpleTokenizer())):
        result[name] = [tokenizer(text)[0].tolist() for text in prompts]
    for name, path in (("bert_small", small_bert), ("bert", bert)):
        tokenizer = BertTokenizer(path)
        result[name] = [tokenizer(text, truncation=True, max_length=512).input_ids for text in prompts]
    if len(sys.argv) > 4:  # the ids themselves, to look for a difference
        with open(sys.argv[4], "w", encoding="utf-8") as file:
            json.dump({"prompts": prompts, **result}, file)
    with open(os.path.join(folder, "token_fuzz.json"), "w", encoding="utf-8") as file:
        lines = ",\n".join(json.dumps(text, ensure_ascii=False) for text in prompts)
        sums = ",\n".join(f'"{name}": {json.dumps(checksums(rows))}' for name, rows in result.items())
        file.write(f'{{"block": {BLOCK},\n"prompts": [\n{lines}\n],\n{sums}}}\n')


if __name__ == "__main__":
    main()
