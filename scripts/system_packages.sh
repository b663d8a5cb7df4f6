#!/usr/bin/env bash
# Installs what no wheel brings.
#
#   scripts/system_packages.sh runtime    Pango and a font with Chinese glyphs, for the PDF report and statement
#   scripts/system_packages.sh test       the independent DICOM programs and the browser that the tests talk to
#
# What is there already is left alone and the network is not touched. Where this account may not install packages,
# the one line to run is printed and the exit code is 1.
set -euo pipefail

profile="${1:-}"
missing=()
# Prometheus' own tool checks our rules. Its package would start a service: only the program is taken out of it.
promtool="${HOME:-/root}/.cache/radmeter/bin/promtool"
wants_promtool=""

has_program() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
has_library() { [[ "$("$ldconfig" -p 2>/dev/null)" == *"$1"* ]]; }
has_package() { [ "$(dpkg-query -W -f='${Status}' "$1" 2>/dev/null)" = "install ok installed" ]; }
has_chinese_font() {
    has_package fonts-wqy-microhei || { has_program fc-list && [ -n "$(fc-list :lang=zh family 2>/dev/null)" ]; }
}

# Plain users on Debian have no /sbin on PATH.
ldconfig="$(command -v ldconfig || echo /sbin/ldconfig)"

case "$profile" in
runtime)
    if [ "$(uname -s)" = Darwin ]; then
        has_program pango-view || { echo "Pango is missing; run: brew install pango" >&2; exit 1; }
        exit 0
    fi
    has_library libpango-1.0.so.0 || missing+=(libpango-1.0-0)
    has_library libpangoft2-1.0.so.0 || missing+=(libpangoft2-1.0-0)
    has_library libharfbuzz-subset.so.0 || missing+=(libharfbuzz-subset0)
    has_chinese_font || missing+=(fonts-wqy-microhei)
    ;;
test)
    has_program storescu || missing+=(dcmtk)
    has_program tini || missing+=(tini)
    has_program strace || missing+=(strace)
    has_program dciodvfy || missing+=(dicom3tools)
    has_program javac || missing+=(default-jdk-headless)
    [ -e /usr/share/java/pixelmed.jar ] || missing+=(libpixelmed-java)
    has_program Orthanc || missing+=(orthanc)
    [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing+=(orthanc-dicomweb)
    [ -e /usr/share/orthanc/plugins/libOrthancGdcm.so ] || missing+=(orthanc-gdcm)
    has_program pdftoppm || missing+=(poppler-utils)
    has_program promtool || [ -x "$promtool" ] || wants_promtool=1
    # On Ubuntu the package `chromium-browser` brings the program `chromium`.
    has_program chromium || has_program chromium-browser || has_program google-chrome ||
        missing+=("$(grep -qs '^ID=ubuntu' /etc/os-release && echo chromium-browser || echo chromium)")
    ;;
*)
    echo "usage: $0 runtime|test" >&2
    exit 2
    ;;
esac

take_promtool() {
    local folder
    folder="$(mktemp -d)"
    # apt's own user must be able to write there, where apt changes to it.
    chmod 755 "$folder"
    (cd "$folder" && apt-get -q download prometheus && dpkg-deb -x prometheus_*.deb . &&
        install -D -m 755 usr/bin/promtool "$promtool")
    local code=$?
    rm -rf "$folder"
    return $code
}

if [ ${#missing[@]} -eq 0 ] && [ -n "$wants_promtool" ] && take_promtool >/dev/null 2>&1; then
    wants_promtool=""
fi
[ ${#missing[@]} -eq 0 ] && [ -z "$wants_promtool" ] && exit 0
if [ ${#missing[@]} -eq 0 ] && ! { command -v apt-get && { [ "$(id -u)" -eq 0 ] || sudo -n true; }; } >/dev/null 2>&1; then
    echo "promtool is missing: it comes with Prometheus. Tests of alerts are skipped without it." >&2
    exit 0
fi

line="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "System packages are missing. Under their Debian names: ${missing[*]}" >&2
    exit 1
elif [ "$(id -u)" -eq 0 ]; then
    as_root=()
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    echo "System packages are missing. Run this once, then try again:" >&2
    echo "    sudo sh -c '$line'" >&2
    exit 1
fi

echo "Installing system packages: ${missing[*]}${wants_promtool:+ promtool}"
log="$(mktemp)"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }
install_missing() {
    apt update || return 1
    [ ${#missing[@]} -eq 0 ] || apt install -y --no-install-recommends "${missing[@]}" || return 1
    [ -z "$wants_promtool" ] || take_promtool
}
if ! install_missing >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "The system packages could not be installed (whole log: $log). By hand: $line" >&2
    exit 1
fi
rm -f "$log"
