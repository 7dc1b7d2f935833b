# SPDX-License-Identifier: Apache-2.0
"""profile-covers.py PROFILE TRACE PROGRAMS: whether the file rules of an AppArmor profile (with its includes put in,
by apparmor_parser -p) allow all that a trace (strace -f -y) opens, makes, removes or connects to, up to the pivot_root
of the sandbox, behind which other names count. Programs in the folder PROGRAMS stand for themselves."""

import os
import re
import sys

VARIABLE = re.compile(r"@\{(\w+)\}")
RULE = re.compile(r"^(deny\s+)?(?:owner\s+)?([/@{][^\s,]*(?:\{[^}]*\}[^\s,]*)*)\s+([a-zA-Z]+),$")
CALL = re.compile(r"^\d+\s+(\w+)\((.*)\)\s+= (-?\d+)(?:<([^>]*)>)?")
PATH = re.compile(r"(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?\"([^\"]*)\"(?:, (O_[A-Z_|]+))?")
UNIX = re.compile(r"sun_path=\"([^\"]+)\"")


def glob_to_regex(text):
    """A name of AppArmor's, variables put in, as a regular expression."""
    out, depth, i = "", 0, 0
    while i < len(text):
        char = text[i]
        if text.startswith("**", i):
            out, i = out + ".*", i + 1
        elif char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[":
            end = text.index("]", i)
            out, i = out + text[i:end + 1], end
        elif char == "{":
            out, depth = out + "(?:", depth + 1
        elif char == "}":
            out, depth = out + ")", depth - 1
        elif char == "," and depth:
            out += "|"
        else:
            out += re.escape(char)
        i += 1
    return out


def read_profile(path):
    """[(matches, permissions)] of the file rules."""
    variables, rules = {}, []
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0].strip()
        assignment = re.match(r"^@\{(\w+)\}\s*(\+?=)\s*(.*)$", line)
        if assignment:
            name, kind, values = assignment.groups()
            known = variables.get(name, []) if kind == "+=" else []
            variables[name] = known + [value.strip('"').rstrip("/") for value in values.split()]
        elif RULE.match(line):
            rules.append(RULE.match(line).groups())
    variables.setdefault("profile_name", ["none"])
    result = []
    for deny, name, permissions in rules:
        while VARIABLE.search(name):
            name = VARIABLE.sub(lambda match: "{" + ",".join(variables[match.group(1)]) + "}", name)
        name = re.sub(r"/+", "/", name)
        if not deny:
            result.append((re.compile(glob_to_regex(name).replace("//", "/") + r"\Z"), permissions))
    return result


def wanted(call, arguments, opened):
    """(name, permissions) that a call takes, which opened that name if any; None: it takes none."""
    if call in ("bind", "connect"):
        match = UNIX.search(arguments)
        return (match.group(1), "w") if match else None
    if call == "flock":
        name = re.match(r"\d+<([^>]*)>", arguments).group(1)
        return name + ("/" if os.path.isdir(name) else ""), "wk"
    match = PATH.search(arguments)
    if not match:
        return None
    folder, name, flags = match.groups()
    name = os.path.normpath(os.path.join(folder or os.getcwd(), name))
    if call in ("unlink", "unlinkat", "mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat2"):
        return name, "w"
    if call not in ("open", "openat") or "O_PATH" in (flags or ""):
        return None
    permissions = "w" if "O_WRONLY" in flags else "rw" if "O_RDWR" in flags else "r"
    name = opened or name
    return name + ("/" if os.path.isdir(name) and not name.endswith("/") else ""), permissions


def main():
    rules, programs, missing, n_seen = read_profile(sys.argv[1]), sys.argv[3], {}, 0
    for line in open(sys.argv[2], encoding="utf-8", errors="replace"):
        match = CALL.match(line)
        if not match or (int(match.group(3)) < 0 and "EINPROGRESS" not in line):
            continue
        if match.group(1) == "pivot_root":
            break
        need = wanted(match.group(1), match.group(2), match.group(4))
        if not need or need[0].startswith(programs):
            continue
        n_seen += 1
        name = need[0].replace("//", "/")
        for permission in need[1]:
            if not any(permission in given and matches.match(name) for matches, given in rules):
                missing[name, permission] = line.strip()
    for (name, permission), line in missing.items():
        print(f"{name}: {permission} is missing: {line}")
    print(f"{sys.argv[1].rsplit('/', 1)[-1]}: {n_seen} names, {len(missing)} not allowed")
    return 1 if missing or n_seen < 10 else 0


sys.exit(main())
