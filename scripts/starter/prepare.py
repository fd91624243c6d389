#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepare the starter model's data set: Fluent emoji pictures with captions from the Unicode CLDR.

usage: prepare.py PICTURES CLDR OUT

PICTURES  the folder assets/ of the npm package @lobehub/fluent-emoji-3d (256x256 WebP named by code points)
CLDR      the folder common/ of the Unicode CLDR (Debian: unicode-cldr-core)
OUT       gets the pictures and metadata.jsonl, one line for each picture:
          {"file_name": "1f98a.webp", "text": "fox", "captions": ["fox", "a fox", "fox, animal face", ...]}

The first caption is the picture's name; the trainer draws it mostly and the others now and then, so that a prompt
finds its picture by its plain name, with an article, or together with its keywords.
Dropped: flags, keycaps, clock faces and skin-tone variants (hundreds of near copies with little to learn from).
"""
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ET

VARIATION_SELECTOR = 0xFE0F


def annotations(cldr):
    """code points (without variation selectors) -> (name, keywords)"""
    names, keywords = {}, {}
    for folder in ("annotations", "annotationsDerived"):
        for node in ET.parse(os.path.join(cldr, folder, "en.xml")).iter("annotation"):
            key = node.get("cp").replace(chr(VARIATION_SELECTOR), "")
            if node.get("type") == "tts":
                names[key] = node.text.strip()
            else:
                keywords[key] = [word.strip() for word in node.text.split("|")]
    return {key: (name, keywords.get(key, [])) for key, name in names.items()}


def wanted(points, name):
    flag = any(0x1F1E6 <= p <= 0x1F1FF or 0xE0020 <= p <= 0xE007F for p in points) or re.search(r"\bflags?\b", name)
    skin_tone = any(0x1F3FB <= p <= 0x1F3FF for p in points)
    keycap = 0x20E3 in points
    clock = any(0x1F550 <= p <= 0x1F567 for p in points)
    return not (flag or skin_tone or keycap or clock)


def with_article(name):
    return ("an " if name[0] in "aeiou" else "a ") + name


def captions(name, keywords, taken):
    """The captions of a picture, its name first; `taken` are the names of other pictures."""
    result = [name, with_article(name)]
    short = re.sub(r"( face| symbol| button)$", "", name)
    if short != name and short not in taken:
        result += [short, with_article(short)]
    extra = [word for word in keywords if word != name]
    if extra:
        result.append(name + ", " + " ".join(extra[:3]))
        result.append(" ".join([name] + extra[-2:]))
    return result


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    pictures, cldr, out = sys.argv[1:]
    known = annotations(cldr)
    found = {}  # one picture for each meaning: some come with and without variation selector
    for file_name in sorted(os.listdir(pictures)):
        if not re.fullmatch(r"[0-9a-f]{2,5}(-[0-9a-f]{2,5})*\.webp", file_name):
            continue
        points = [int(part, 16) for part in file_name.removesuffix(".webp").split("-")]
        key = "".join(chr(p) for p in points if p != VARIATION_SELECTOR)
        if key in known and wanted(points, known[key][0]):
            found[key] = (file_name, *known[key])

    os.makedirs(out, exist_ok=True)
    taken = {name.lower() for _, name, _ in found.values()}
    with open(os.path.join(out, "metadata.jsonl.part"), "w", encoding="utf-8") as lines:
        for file_name, name, keywords in found.values():
            name = name.lower().replace("“", "").replace("”", "").replace("’", "'")
            texts = captions(name, [word.lower() for word in keywords], taken)
            lines.write(json.dumps({"file_name": file_name, "text": name, "captions": texts}) + "\n")
            shutil.copyfile(os.path.join(pictures, file_name), os.path.join(out, file_name))
    os.replace(os.path.join(out, "metadata.jsonl.part"), os.path.join(out, "metadata.jsonl"))
    print(f"{len(found)} pictures in {out}")


if __name__ == "__main__":
    main()
