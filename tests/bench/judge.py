# SPDX-License-Identifier: GPL-2.0
"""judge.py TARGETS JSON SCRIPT... -- LOG...: the figures of all logs, each beside its target.

Prints "BENCH name value unit  ok|MISSED (bound)", writes the same as JSON, and fails if a figure
that one of the scripts owes is missing or misses its target.
"""
import json
import operator
import statistics
import sys

SECOND = "_mi25"
BOUNDS = {"<=": operator.le, ">=": operator.ge}


def targets(path, scripts):
    """What the scripts owe: name of the figure -> (bound, limit)."""
    owed = {}
    for line in open(path):
        words = line.split("#")[0].split()
        if not words:
            continue
        name, bound, limit, script, chips = words
        if script in scripts:
            suffixes = {"both": ["", SECOND], "S7150": [""], "-": [""]}[chips]
            owed.update({name + s: (bound, float(limit)) for s in suffixes})
    return owed


def figures(paths):
    """Name of the figure -> (values, unit)."""
    found = {}
    for path in paths:
        for line in open(path, errors="replace"):
            words = line.split()
            if len(words) == 4 and words[0] == "BENCH":
                found.setdefault(words[1], ([], words[3]))[0].append(float(words[2]))
    return found


def main():
    target_path, json_path, *rest = sys.argv[1:]
    split = rest.index("--")
    owed = targets(target_path, rest[:split])
    found = figures(rest[split + 1:])
    rows, missed = {}, 0
    for name, (values, unit) in found.items():
        value = statistics.median(values)
        row = rows[name] = {"value": value, "unit": unit, "runs": len(values)}
        row["chip"] = "MI25" if name.endswith(SECOND) else "S7150"
        verdict = ""
        if name in owed:
            bound, limit = owed[name]
            row["ok"] = BOUNDS[bound](value, limit)
            row["target"] = f"{bound} {limit:g}"
            verdict = f"  {'ok' if row['ok'] else 'MISSED'} ({row['target']})"
            missed += not row["ok"]
        print(f"BENCH {name} {value:.6g} {unit}{verdict}")
    for name in sorted(owed.keys() - found.keys()):
        print(f"MISSED {name}: it was not measured")
        missed += 1
    with open(json_path, "w") as out:
        json.dump(rows, out, indent=1)
    kept = sum(row.get("ok", False) for row in rows.values())
    print(f"{kept} targets kept, {missed} missed")
    sys.exit(missed > 0)


main()
