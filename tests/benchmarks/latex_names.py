r"""Names as LaTeX, compiled by TeX itself: what is set must be the name.

    python tests/benchmarks/latex_names.py --names 2000 --seed 0

Random names go through ``graphs.language.notation.latex_name`` into documents. pdfLaTeX compiles
those of ASCII, LuaLaTeX all; the latter also tells which characters it set, after ligatures and
fonts, which are compared with the name. Needs both programs (Debian: texlive-latex-base,
texlive-luatex).
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import tempfile
import unicodedata
from pathlib import Path

from graphs.language.notation import latex_name, text_name

ASCII = [chr(c) for c in range(32, 127)]
LETTERS = list("abXY01éüßñçøåÆœŁžαβγΩЖя漢字יאع\u0301\u0308\u0327\u200d_-' ")
SIGNS = list("\\{}$%&#_^~\"'`|<>-?!.,; ab")
HEAD = r"\documentclass{article}\usepackage{amsmath}" + "\n"
SHOW = r"""
\directlua{
function show(head)
  for n in node.traverse(head) do
    local kind = node.type(n.id)
    if kind == "glyph" then
      local f = font.getfont(n.font).name
      texio.write_nl("log", "GLYPH " .. f:gsub("[^%a]", "") .. " " .. n.char)
    elseif kind == "glue" and n.width > 0 then texio.write_nl("log", "SPACE")
    elseif kind == "disc" then if n.replace then show(n.replace) end
    elseif kind == "hlist" or kind == "vlist" then show(n.head) end
  end
end}
\def\name#1#2{\typeout{NAME #1}\setbox0\hbox{$#2$}\directlua{show(tex.box[0].head)}}
""".replace("%a", "\\csstring\\%a")
PRIVATE = 0xF0000  # the place of a character that the font lacks
MATH = {
    ("cmsy", 110): "\\", ("cmsy", 24): "~", ("cmsy", 106): "|", ("cmsy", 48): "'",
    ("cmmi", 59): ",", ("cmr", 11): "ff", ("cmr", 12): "fi", ("cmr", 13): "fl", ("cmr", 14): "ffi",
    ("cmr", 15): "ffl",
}  # fmt: skip


def random_name(rng: random.Random, pool: list[str]) -> str:
    return "".join(rng.choice(pool) for _ in range(rng.randint(1, 8)))


def compiled(program: str, source: str) -> str:
    """The log of a document."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "names.tex").write_text(source, encoding="utf-8")
        command = [program, "-interaction=nonstopmode", "names.tex"]
        subprocess.run(command, cwd=folder, capture_output=True, check=False)
        return Path(folder, "names.log").read_text(encoding="utf-8", errors="replace")


def errors(names: list[str]) -> dict[str, str]:
    """Names that pdfLaTeX refuses, with its first complaint."""
    lines = [f"\\typeout{{NAME {i}}}\n${latex_name(v)}$\n" for i, v in enumerate(names)]
    log = compiled("pdflatex", f"{HEAD}\\begin{{document}}\n{''.join(lines)}\\end{{document}}\n")
    return complaints(log, names)


def complaints(log: str, names: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    current = ""
    for line in log.splitlines():
        if line.startswith("NAME "):
            current = names[int(line[5:])]
        elif line.startswith("! "):
            found.setdefault(current, line)
    return found


def shown(names: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Names that LuaLaTeX refuses, and those it sets as other characters."""
    lines = [f"\\name{{{i}}}{{{latex_name(v)}}}\n" for i, v in enumerate(names)]
    log = compiled(
        "lualatex",
        f"{HEAD}{SHOW}\\begin{{document}}\n{''.join(lines)}\\typeout{{}}\\end{{document}}\n",
    )
    other = {}
    for block in log.split("\nNAME ")[1:]:
        number, *rest = block.splitlines()
        name = names[int(number)]
        written = "".join(map(character, rest))
        if expected(name) != plain(written):
            other[name] = written
    return complaints(log, names), other


def character(line: str) -> str:
    if line == "SPACE":
        return " "
    match = re.fullmatch(r"GLYPH (\w+) (\d+)", line)
    if not match:
        return ""
    code = int(match[2])
    return MATH.get((match[1][:4].lower(), code), chr(code) if code < PRIVATE else "")


def expected(name: str) -> str:
    """What a reader should see: escapes of what is not printable, no underscore of a subscript."""
    latex = latex_name(name)
    if latex.startswith(r"\text{" + '"'):
        return plain(text_name(name))
    subscript = "_{" in latex and not latex.startswith(r"\text")
    return plain(name.replace("_", "") if subscript else name)


def plain(text: str) -> str:
    """Quotes as TeX sets them, ligatures of letters apart; without blanks and joiners."""
    text = text.translate(str.maketrans("’‘”ˆ˜", "'`\"^~"))
    return re.sub("[\\s\u200d]", "", unicodedata.normalize("NFKC", text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not (shutil.which("pdflatex") and shutil.which("lualatex")):
        parser.error("pdflatex and lualatex are needed")
    rng = random.Random(options.seed)
    pools = {"ASCII": ASCII, "signs": SIGNS, "letters": LETTERS}
    heads = ("tried", "pdfLaTeX errors", "LuaLaTeX errors", "set otherwise")
    print(f"{'names of':10}", *(f"{head:>16}" for head in heads))
    for kind, pool in pools.items():
        names = [random_name(rng, pool) for _ in range(options.names)]
        refused = errors(names) if kind != "letters" else None
        failed, other = shown(names)
        pdf = "" if refused is None else str(len(refused))
        print(f"{kind:10} {len(names):16} {pdf:>16} {len(failed):16} {len(other):16}")
        for name, line in [*(refused or {}).items(), *failed.items(), *other.items()][:10]:
            print(f"    {name!a} as {latex_name(name)!a}: {line!a}")


if __name__ == "__main__":
    main()
