"""Rules for Dockerfiles, by the numbers that hadolint gave them, each with what breaks it.

Hadolint itself is not used here: its licence is the GPL. Left out are its rules for package managers that the image
does not use (apk, yum, dnf, zypper, npm, gem, go) and those of the shell's own linter.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.dockerfile import Dockerfile, arguments, commands


@dataclass(frozen=True)
class Rule:
    """breaks: gives what offends. bad: a file that must offend, so that the rule is known to see."""

    number: str
    reason: str
    breaks: Callable[[Dockerfile], list[str]]
    bad: str


def _commands(pattern: str) -> Callable[[Dockerfile], list[str]]:
    return lambda file: [c for s in file.stages for c in commands(s) if re.search(pattern, c)]


def _every(name: str, pattern: str) -> Callable[[Dockerfile], list[str]]:
    return lambda file: [a for i, a in file.instructions if i == name and not re.search(pattern, a)]


def _more_than_one(name: str) -> Callable[[Dockerfile], list[str]]:
    return lambda file: [name for stage in file.stages if len(arguments(stage, name)) > 1]


def _names(file: Dockerfile) -> list[str]:
    return [stage[0][1].split(" AS ")[1] for stage in file.stages if " AS " in stage[0][1]]


def _untagged(file: Dockerfile) -> list[str]:
    given = {f"${{{name}}}": value for name, value in file.argument_defaults().items()}
    images = [stage[0][1].split(" ")[0] for stage in file.stages]
    outside = [given.get(image, image) for image in images if image not in {*_names(file), "scratch"}]
    return [image for image in outside if not re.fullmatch(r"[\w./-]+:[\w.-]+(@sha256:[0-9a-f]{64})?", image)]


def _latest(file: Dockerfile) -> list[str]:
    return [a for i, a in file.instructions if i in {"FROM", "ARG"} and re.search(r":latest\b", a)]


def _lists_left(file: Dockerfile) -> list[str]:
    runs = [run for stage in file.stages for run in arguments(stage, "RUN") if "apt-get update" in run]
    return [run for run in runs if "rm -rf /var/lib/apt/lists/*" not in run]


def _copied_from_unknown(file: Dockerfile) -> list[str]:
    bad = []
    for position, stage in enumerate(file.stages):
        earlier = _names(Dockerfile([], file.stages[:position]))
        sources = [m[1] for a in arguments(stage, "COPY") if (m := re.match(r"--from=(\S+)", a))]
        bad += [source for source in sources if source not in earlier]
    return bad


def _cached_by_pip(file: Dockerfile) -> list[str]:
    return [
        command
        for stage in file.stages
        if not re.search(r"\bPIP_NO_CACHE_DIR=1\b", " ".join(arguments(stage, "ENV")))
        for command in commands(stage)
        if re.search(r"\bpip (?:install|wheel)\b", command) and "--no-cache-dir" not in command
    ]


def _refers_to_itself(file: Dockerfile) -> list[str]:
    bad = []
    for argument in (a for i, a in file.instructions if i == "ENV"):
        names = set(re.findall(r"(?:^| )(\w+)=", argument)) - {"PATH"}
        bad += [name for name in names if re.search(rf"\$\{{?{name}\b", argument)]
    return bad


def _relative_without_a_folder(file: Dockerfile) -> list[str]:
    bad = []
    for stage in file.stages:
        has_folder = False
        for name, argument in stage:
            has_folder |= name == "WORKDIR"
            if name == "COPY" and not argument.split(" ")[-1].startswith("/") and not has_folder:
                bad.append(argument)
    return bad


def _not_json(file: Dockerfile) -> list[str]:
    bad = []
    for name, argument in file.instructions:
        if name in {"CMD", "ENTRYPOINT"}:
            try:
                json.loads(argument)
            except ValueError:
                bad.append(argument)
    return bad


def _as_root(file: Dockerfile) -> list[str]:
    users = arguments(file.final, "USER")
    return [] if users and not re.match(r"(?:root|0)\b", users[-1]) else users or ["no USER"]


def _piped(file: Dockerfile) -> list[str]:
    return [
        run
        for stage in file.stages
        if not any("pipefail" in shell for shell in arguments(stage, "SHELL"))
        for run in arguments(stage, "RUN")
        if re.search(r"[^|]\|[^|]", run) and "pipefail" not in run
    ]


def _several_to_a_file(file: Dockerfile) -> list[str]:
    copies = [a for i, a in file.instructions if i == "COPY"]
    return [a for a in copies if len([p for p in a.split(" ") if p[:2] != "--"]) > 2 and a[-1] not in "/."]


def _outside_the_ports(file: Dockerfile) -> list[str]:
    ports = " ".join(a for i, a in file.instructions if i == "EXPOSE").split()
    return [port for port in ports if not 0 < int(port.split("/")[0]) < 65536]


def _instructions(*names: str) -> Callable[[Dockerfile], list[str]]:
    return lambda file: [i for i, _ in file.instructions if i in names]


RULES = (
    Rule("DL3000", "a relative WORKDIR depends on the base image", _every("WORKDIR", "^/"), "FROM a:1\nWORKDIR x"),
    Rule("DL3002", "the last user must not be root", _as_root, "FROM a:1\nUSER 0"),
    Rule("DL3003", "WORKDIR says where, not cd", _commands(r"^cd "), "FROM a:1\nRUN cd /x && make"),
    Rule("DL3004", "sudo changes users unpredictably", _commands(r"\bsudo\b"), "FROM a:1\nRUN sudo id"),
    Rule("DL3005", "upgrades change what the digest pinned", _commands(r"apt-get (?:dist-)?upgrade"), "FROM a:1\nRUN apt-get upgrade"),
    Rule("DL3006", "an image without a version is another one tomorrow", _untagged, "FROM python"),
    Rule("DL3007", "`latest` is another one tomorrow", _latest, "FROM python:latest"),
    Rule("DL3009", "package lists are weight", _lists_left, "FROM a:1\nRUN apt-get update"),
    Rule("DL3011", "a port is 1 to 65535", _outside_the_ports, "FROM a:1\nEXPOSE 80000"),
    Rule("DL3012", "the last HEALTHCHECK wins in silence", _more_than_one("HEALTHCHECK"), "FROM a:1\nHEALTHCHECK NONE\nHEALTHCHECK NONE"),
    Rule("DL3014", "apt-get would ask", _commands(r"apt-get install(?!.* -y\b)"), "FROM a:1\nRUN apt-get install x"),
    Rule("DL3015", "what is only recommended is weight", _commands(r"apt-get install(?!.*--no-install-recommends)"), "FROM a:1\nRUN apt-get install -y x"),
    Rule("DL3020", "ADD fetches and unpacks", _instructions("ADD"), "FROM a:1\nADD x /x"),
    Rule("DL3021", "several files go into a folder", _several_to_a_file, "FROM a:1\nCOPY a b /c"),
    Rule("DL3022", "COPY --from names an earlier stage", _copied_from_unknown, "FROM a:1\nCOPY --from=b /x /x"),
    Rule("DL3024", "a stage has a name of its own", lambda file: [n for n, c in Counter(_names(file)).items() if c > 1], "FROM a:1 AS x\nFROM a:1 AS x"),
    Rule("DL3025", "a shell in between keeps signals", _not_json, "FROM a:1\nCMD radmeter serve"),
    Rule("DL3027", "apt is for people", _commands(r"^apt "), "FROM a:1\nRUN apt install x"),
    Rule("DL3029", "the platform is chosen by who builds", lambda file: [s[0][1] for s in file.stages if "--platform" in s[0][1]], "FROM --platform=linux/amd64 a:1"),
    Rule("DL3042", "pip's cache is weight", _cached_by_pip, "FROM a:1\nRUN pip install x"),
    Rule("DL3044", "an ENV does not see itself", _refers_to_itself, "FROM a:1\nENV A=1 B=$A"),
    Rule("DL3045", "a relative target needs a WORKDIR", _relative_without_a_folder, "FROM a:1\nCOPY a b"),
    Rule("DL3046", "a high user number makes a sparse log of gigabytes", _commands(r"\buseradd\b(?!.*--no-log-init)"), "FROM a:1\nRUN useradd -u 10001 x"),
    Rule("DL3048", "a label's key is lower case with dots", _every("LABEL", r"^(?:[a-z][a-z0-9.-]+=(?:\"[^\"]*\"|\S+) ?)+$"), "FROM a:1\nLABEL A_b=1"),
    Rule("DL4000", "MAINTAINER is gone", _instructions("MAINTAINER"), "FROM a:1\nMAINTAINER x"),
    Rule("DL4001", "nothing is fetched past the locks", _commands(r"\b(?:curl|wget|git clone)\b"), "FROM a:1\nRUN curl x"),
    Rule("DL4003", "the last CMD wins in silence", _more_than_one("CMD"), 'FROM a:1\nCMD ["a"]\nCMD ["b"]'),
    Rule("DL4004", "the last ENTRYPOINT wins in silence", _more_than_one("ENTRYPOINT"), 'FROM a:1\nENTRYPOINT ["a"]\nENTRYPOINT ["b"]'),
    Rule("DL4006", "only the last of a pipe is heard", _piped, "FROM a:1\nRUN a | b"),
)  # fmt: skip

WAIVED = {
    "DL3008": "versions of Debian packages are those of the release that the digest of the base image pins; old ones leave the mirrors",
    "DL3013": "pip installs from locks with hashes, which test_dockerfile.py checks",
    "DL3059": "consecutive RUN lines are layers of the build stage, which nobody ships",
}
