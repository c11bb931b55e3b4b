"""TOML files as people and tools leave them: odd, but valid."""

from hypothesis import strategies as st

from reapi_local_plugin.pants_config.rc_block import BEGIN, END

STRING_WITH_A_BLOCK = f'''a = """
[GLOBAL]
{BEGIN}
remote_cache_read = true
{END} {{"wrote": [], "added": []}}
"""
'''

CASES = {
    "empty": "",
    "only a line break": "\n",
    "only blanks": "  \n\t\n",
    "only a comment, no final newline": "# mine",
    "header alone, no final newline": "[GLOBAL]",
    "header with a comment": "[GLOBAL] # everything\npants_version = '2.17.1'\n",
    "indented header": "  [GLOBAL]\n  a = 1\n",
    "spaced header": "[ GLOBAL ]\na = 1\n",
    "quoted header": '["GLOBAL"]\na = 1\n',
    "literal quoted header": "['GLOBAL']\na = 1",
    "header with an escape": '["GLOB\\u0041L"]\na = 1\n',
    "root keys before": "a = 1\n\n[GLOBAL]\nb = 2\n",
    "no global, no final newline": "[python]\ninterpreter_constraints = ['==3.11.*']",
    "global in the middle": "[a]\nx = 1\n[GLOBAL]\ny = 2\n\n[b]\nz = 3\n",
    "crlf": "[GLOBAL]\r\na = 1\r\n\r\n[b]\r\nc = 2\r\n",
    "crlf, no global, no final newline": "[b]\r\nc = 2",
    "crlf alone": "\r\n",
    "mixed line ends": "[a]\r\nx = 1\n[GLOBAL]\r\ny = 1\n",
    "string like a header": 'a = """\n[GLOBAL]\nb = 1\n"""\n[c]\nd = 1\n',
    "string like our block": STRING_WITH_A_BLOCK + "[GLOBAL]\nb = 1\n",
    "literal string like our block": STRING_WITH_A_BLOCK.replace('"""', "'''"),
    "string ending in quotes": "a = \"\"\"x\"\"\"\"\"\nb = '''y'''''\n",
    "string with a backslash at the line's end": 'a = """x \\\n   [GLOBAL] \\\n  """\n',
    "array like our block": f"a = [\n  # [GLOBAL]\n  {BEGIN}\n  '[GLOBAL]', # ]\n  {END}\n]\n",
    "nested arrays": "[GLOBAL]\na = [ [1, 2], # ]\n  [ '[', \"]\" ,],\n]\n",
    "marker behind a value": f"a = 1 {BEGIN}\nb = 2 {END}\n",
    "inline tables": "[GLOBAL]\na = {b = 1, c.d = 'x', 'e' = [1]}\n",
    "dotted keys": "[GLOBAL]\nbackend_packages.add = ['x']\nbackend_packages.remove = ['y']\n",
    "sub-table without a header": "[GLOBAL.sub]\na = 1\n",
    "sub-table before its header": "[GLOBAL.sub]\na = 1\n[GLOBAL]\nb = 2",
    "arrays of tables": "[[a]]\nx = 1\n[[a]]\nx = 2\n",
    "numbers and dates": (
        "a = 1_000\nb = 0xF\nc = -1.5e3\nd = inf\ne = 1979-05-27 07:32:00Z\nf = 07:32:00\n"
    ),
    "not ascii": "# Grüße 🐧\n[GLOBAL]\n'ключ' = \"ж\"",
}

WANTED = {"remote_cache_read": True, "remote_cache_write": True}

_EOL = st.sampled_from(["\n", "\r\n"])
_FILLER = st.sampled_from(
    ["", "# note", "  # [GLOBAL]", "\t", "# 'open \"quotes", "# Grüße", f"#{BEGIN}", "# ]"]
)
_VALUES = st.sampled_from(
    [
        "true",
        "'x' # note",
        '"# no comment"',
        "[1, 2,\n  3, # three ]\n]",
        f'"""\n[GLOBAL]\n{BEGIN}\n{END}"""',
        "'''\n\n[GLOBAL]\nremote_cache_read = true\n'''",
        "{a = [1], 'b.c' = {d = '}'}}",
        "[]",
        '["a\\"]", [\'\'], """\n"""]',
        "1979-05-27T07:32:00Z",
    ]
)
_KEYS = st.sampled_from(["k{}", "'k {}'", '"k\\u0041{}"', "k{}.sub.'x'", "  k{} . y"])


@st.composite
def odd_files(draw: st.DrawFn) -> str:
    """A valid file of odd pieces: maybe a wanted key, a byte order mark, or no final newline."""
    headers = [f"[t{n}]" for n in range(draw(st.integers(0, 3)))]
    for special in ("[GLOBAL.sub]", "[[many]]", "[[many]]"):
        headers += [special] * draw(st.integers(0, 1))
    if draw(st.booleans()):
        headers.append(draw(st.sampled_from(["[GLOBAL]", '["GLOBAL"] # c', " [ GLOBAL ]\t"])))
    lines: list[str] = []
    count = 0
    for header in ["", *draw(st.permutations(headers))]:
        lines += [header] * bool(header)
        for _ in range(draw(st.integers(0, 2))):
            lines.append(draw(_FILLER))
            lines.append(f"{draw(_KEYS).format(count)} = {draw(_VALUES)}")
            count += 1
        if "GLOBAL" in header and ".sub" not in header:
            lines += draw(st.sampled_from([[], ["remote_cache_read = false # mine"]]))
    lines.append(draw(_FILLER))
    text = "\n".join(lines).replace("\n", draw(_EOL))
    if draw(st.booleans()):
        text += draw(_EOL)
    return draw(st.sampled_from(["", "\ufeff"])) + text
