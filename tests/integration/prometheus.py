# SPDX-License-Identifier: Apache-2.0
"""The text format that Prometheus reads (0.0.4), and the rules of `promtool check metrics`, as strictly as they are
written down: a parser that refuses whatever it does not know."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{([^{{}}]*)\}})? (\+Inf|[0-9]+(?:\.[0-9]+)?)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
# Units that have a base unit, which is to be used instead.
BAD_UNITS = ("_milliseconds", "_ms", "_us", "_ns", "_microseconds", "_nanoseconds", "_minutes", "_hours", "_kilobytes",
             "_kib", "_mib", "_megabytes", "_bits", "_percent")


class Wrong(Exception):
    pass


def parse_labels(text):
    labels, at = {}, 0
    while at < len(text or ""):
        match = LABEL.match(text, at)
        if not match or match.group(1) in labels:
            raise Wrong(f"labels {text!r}")
        labels[match.group(1)] = match.group(2)
        at = match.end()
    return labels


class Family:
    """One metric: its type, and samples as (suffix, labels, value)."""

    def __init__(self, name, help_text):
        self.name, self.help, self.type, self.samples = name, help_text, None, []

    def add(self, name, labels, value):
        suffix = name[len(self.name):]
        allowed = ("_bucket", "_sum", "_count") if self.type == "histogram" else ("",)
        if not name.startswith(self.name) or suffix not in allowed:
            raise Wrong(f"{name} below {self.name}")
        key = (suffix, tuple(sorted(labels.items())))
        if key in {(s, tuple(sorted(l.items()))) for s, l, _ in self.samples}:
            raise Wrong(f"{name}{labels} twice")
        self.samples.append((suffix, labels, value))

    def check_histogram(self):
        series = {}
        for suffix, labels, value in self.samples:
            rest = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
            one = series.setdefault(rest, {"buckets": []})
            if suffix == "_bucket":
                one["buckets"].append((float(labels["le"]), value))
            else:
                one[suffix] = value
        for labels, one in series.items():
            bounds = [le for le, _ in one["buckets"]]
            counts = [n for _, n in one["buckets"]]
            if bounds != sorted(set(bounds)) or counts != sorted(counts) or bounds[-1] != float("inf"):
                raise Wrong(f"{self.name}{labels}: buckets {one['buckets']}")
            if counts[-1] != one["_count"] or "_sum" not in one:
                raise Wrong(f"{self.name}{labels}: count or sum")

    def check(self):
        counts_up = self.type == "counter"
        if self.name.endswith("_total") != counts_up or not self.help:
            raise Wrong(f"{self.name}: a {self.type}, {self.help!r}")
        if self.name.endswith(("_bucket", "_count", "_sum")) or self.name.endswith(BAD_UNITS) or \
                any(word in self.name.split("_") for word in ("gauge", "counter", "histogram", "summary")):
            raise Wrong(f"{self.name}: no such name")
        if self.name != self.name.lower():
            raise Wrong(f"{self.name}: not in lower case")
        if self.type == "histogram":
            self.check_histogram()


def parse(text):
    """All families by name."""
    families, family = {}, None
    if not text.endswith("\n"):
        raise Wrong("the last line does not end")
    for line in text[:-1].split("\n"):
        help_line = re.match(rf"# HELP ({NAME}) (.+)$", line)
        type_line = re.match(rf"# TYPE ({NAME}) (counter|gauge|histogram)$", line)
        sample = SAMPLE.match(line)
        if help_line:
            if help_line.group(1) in families:
                raise Wrong(f"{help_line.group(1)} is there twice")
            family = families[help_line.group(1)] = Family(*help_line.groups())
        elif type_line:
            if not family or type_line.group(1) != family.name or family.type:
                raise Wrong(line)
            family.type = type_line.group(2)
        elif sample and family and family.type:
            family.add(sample.group(1), parse_labels(sample.group(2)), float(sample.group(3)))
        else:
            raise Wrong(line)
    for family in families.values():
        family.check()
    return families
