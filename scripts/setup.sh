#!/usr/bin/env bash
# Builds a virtual environment from the locks in requirements/ and puts this project into it, editable.
#
#   scripts/setup.sh run      what `radmeter serve` needs, CPU build           (into .venv)
#   scripts/setup.sh dev      the same and what `make check` and `make test` need  (into .venv)
#   scripts/setup.sh train    torch, MONAI, ONNX export, and pytest             (into .venv-train)
#   scripts/setup.sh triton   a Triton server with its python backend, for Linux (into .venv-triton)
#
# VENV names another folder. Python is found on PATH unless PYTHON names one. Every package is installed with its hash
# required. A second run with unchanged locks ends at once.
set -euo pipefail
cd "$(dirname "$0")/.."

profile="${1:-run}"
case "$profile" in
run) locks=(cpu build) venv="${VENV:-.venv}" ;;
dev) locks=(dev) venv="${VENV:-.venv}" ;;
train) locks=(dev train) venv="${VENV:-.venv-train}" ;;
triton) locks=(triton-server) venv="${VENV:-.venv-triton}" ;;
*)
    echo "usage: $0 run|dev|train|triton" >&2
    exit 2
    ;;
esac

# One stamp per profile; what it holds covers everything that decides what gets installed.
stamp="$venv/.installed-$profile"
files=()
for lock in "${locks[@]}"; do files+=("requirements/$lock.txt"); done
digest="$(cat "${files[@]}" pyproject.toml scripts/setup.sh | cksum) $PWD"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$digest" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi

# Triton's Python backend works with numpy 1 alone, which has wheels up to 3.12.
newest_minors=(13 14)
[ "$profile" = triton ] && newest_minors=(12)

is_supported() { # is_supported PYTHON [NEWEST_MINOR]
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, ${2:-${newest_minors[-1]}}))" >/dev/null 2>&1
}

find_python() {
    # A name on PATH may be a shim that cannot start, so each one is asked, not only looked up.
    # 3.14 comes last: pyjpegls, which highdicom asks for, has no wheel for it yet and is compiled there.
    for newest_minor in "${newest_minors[@]}"; do
        for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
            if is_supported "$candidate" "$newest_minor"; then
                "$candidate" -c 'import sys; print(sys.executable)'
                return
            fi
        done
    done
    echo "Needed is Python 3.11 to 3.${newest_minors[-1]}, and none of ${PYTHON:-python3, python3.11 … python3.14} is one." >&2
    echo "On Debian 12 or Ubuntu 24.04: sudo apt-get install python3 python3-venv" >&2
    echo "Or name one: PYTHON=/path/to/python3.12 make setup" >&2
    return 1
}

check_compiler() {
    if "$1" -c 'import sys; sys.exit(sys.version_info < (3, 14))' && ! command -v c++ >/dev/null 2>&1; then
        echo "With Python 3.14 one package has to be compiled. Run this once, then try again:" >&2
        echo "    sudo apt-get install -y g++ python3-dev" >&2
        return 1
    fi
}

install_venv_module() { # Debian splits ensurepip off the interpreter
    local package
    package="python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1 || ! sudo -n true 2>/dev/null; then
            echo "This Python cannot make virtual environments. Run this once, then try again:" >&2
            echo "    sudo apt-get install -y $package" >&2
            return 1
        fi
        as_root=(sudo -n)
    fi
    command -v apt-get >/dev/null 2>&1 || { echo "This Python has no ensurepip; install its venv package." >&2; return 1; }
    echo "Installing $package"
    local log apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    log="$(mktemp)"
    if ! { "${apt[@]}" update && "${apt[@]}" install -y "$package"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        return 1
    fi
    rm -f "$log"
}

picks_cpu_torch() { # is the torch that pip, as configured here, would take one of the CPU builds in train.txt?
    local pin hash
    pin="$(grep -m1 -o '^torch==[^ ;]*' requirements/train.txt)"
    hash="$("${pip[@]}" install --dry-run --no-deps --ignore-installed --report - "$pin" |
        "$venv/bin/python" -c 'import json, sys
print(json.load(sys.stdin)["install"][0]["download_info"]["archive_info"]["hashes"]["sha256"])')"
    grep -q "sha256:$hash" requirements/train.txt
}

if ! { [ -x "$venv/bin/python" ] && is_supported "$venv/bin/python" && "$venv/bin/python" -m pip --version; } >/dev/null 2>&1; then
    python="$(find_python)"
    check_compiler "$python"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_venv_module "$python"
    echo "Creating $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

echo "Installing locked packages (${locks[*]}) into $venv; the first time takes a few minutes"
pip=("$venv/bin/python" -m pip --disable-pip-version-check -qq)
requirements=()
for file in "${files[@]}"; do requirements+=(-r "$file"); done
if [ "$profile" = train ] && ! picks_cpu_torch; then
    echo "No CPU build of torch on offer here: the CUDA packages come with it (several GB)"
    requirements=("${requirements[@]/train.txt/train-cuda.txt}")
fi
"${pip[@]}" install --require-hashes "${requirements[@]}"
if [ "$profile" = triton ]; then # a server of its own: the project is not in it
    echo "$digest" > "$stamp"
    exit 0
fi
# The build back end is locked with the rest: an isolated build would fetch an unlocked one.
"${pip[@]}" install --no-deps --no-build-isolation --no-index -e .
echo "$digest" > "$stamp"
