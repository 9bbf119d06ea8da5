#!/usr/bin/env bash
# Runs the clients' live tests against the broker that the environment names:
#   TELEGATE_ADDRESS  host:port, plaintext
#   TELEGATE_KEY      a worker's key
#   TELEGATE_POOL     a pool whose sessions are free; default demo
# Usage: clients/test.sh [python] [go] [typescript] [java]; all four when none is named.
#
# What the clients need from PyPI, the Go proxy, npm and Maven Central goes into target/clients
# and typescript/node_modules; a second run finds it there. A client whose toolchain is absent
# is skipped, or fails when CI=true.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
proto=$here/../proto
mkdir -p "$here/../target/clients"
cache=$(cd "$here/../target/clients" && pwd)
venv=$cache/python
# Go's own installer puts it where no PATH looks.
PATH=$PATH:/usr/local/go/bin

usage_error=64
skipped=77

absent() {
  echo "skipped: $1"
  exit "$skipped"
}

# fresh STAMP SOURCE...: whether nothing among the sources is newer than the stamp.
fresh() {
  local stamp=$1
  shift
  [[ -e $stamp && -z $(find "$@" -newer "$stamp" -print -quit) ]]
}

prepare_python() {
  python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    absent "needs python3, 3.10 or newer, with its venv module"
  if ! fresh "$venv/installed" "$here/python/pyproject.toml"; then
    echo "installing from PyPI into target/clients/python"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
      --editable "$here/python[generate,test]"
    touch "$venv/installed"
  fi
}

run_python() {
  prepare_python
  fresh "$here/python/src/telegate/v1/__init__.py" "$proto" "$here/python/generate.sh" ||
    PYTHON=$venv/bin/python "$here/python/generate.sh"
  "$venv/bin/python" "$here/python/tests/live.py"
}

run_go() {
  command -v go >/dev/null || absent "needs go"
  export GOMODCACHE=${GOMODCACHE:-$cache/go} GOFLAGS="${GOFLAGS:-} -modcacherw"
  cd "$here/go"
  if ! fresh telegatev1/session_pool_grpc.pb.go "$proto" generate.sh go.mod; then
    if ! command -v protoc >/dev/null; then
      # The wheel of grpcio-tools carries one.
      prepare_python
      export PROTOC="$venv/bin/python -m grpc_tools.protoc"
    fi
    ./generate.sh
  fi
  go vet ./...
  go run ./internal/livetest
}

run_typescript() {
  local current='process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'
  if ! node -e "$current" 2>/dev/null || ! command -v npm >/dev/null; then
    absent "needs node, 20 or newer, with npm"
  fi
  cd "$here/typescript"
  if ! fresh node_modules/.package-lock.json package.json package-lock.json; then
    echo "installing from npm into clients/typescript/node_modules"
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    touch node_modules/.package-lock.json
  fi
  fresh src/gen/telegate/v1/session_pool.ts "$proto" buf.gen.yaml node_modules/.package-lock.json ||
    npm run --silent generate
  if ! fresh dist/built src test tsconfig.json node_modules/.package-lock.json; then
    rm -rf dist
    npm run --silent build
    touch dist/built
  fi
  node dist/test/live.js
}

run_java() {
  local version
  version=$(javac -version 2>/dev/null | sed -E 's/^javac ([0-9]+).*/\1/' || true)
  if [[ ${version:-0} -lt 17 ]] || ! command -v mvn >/dev/null; then
    absent "needs a JDK, 17 or newer, and Maven"
  fi
  cd "$here/java"
  if ! fresh target/built "$proto" src pom.xml; then
    echo "building with Maven, from Maven Central into target/clients/maven"
    mvn --batch-mode --quiet --no-transfer-progress \
      -Dmaven.repo.local="$cache/maven" clean test-compile
    touch target/built
  fi
  java -cp "target/classes:target/test-classes:$(<target/classpath)" dev.telegate.Live
}

for variable in TELEGATE_ADDRESS TELEGATE_KEY; do
  if [[ -z ${!variable:-} ]]; then
    echo "clients/test.sh: $variable is not set; name a running broker, its demo will do" >&2
    exit "$usage_error"
  fi
done
[[ $# -gt 0 ]] || set -- python go typescript java
for client in "$@"; do
  if [[ ! $client =~ ^(python|go|typescript|java)$ ]]; then
    echo "clients/test.sh: there is no client \"$client\"; python, go, typescript, java are" >&2
    exit "$usage_error"
  fi
done

summary=()
status=0
for client in "$@"; do
  echo "== $client"
  set +e
  # Not in a condition: there `set -e` would be off inside.
  (
    set -e
    case $client in
      python) run_python ;;
      go) run_go ;;
      typescript) run_typescript ;;
      java) run_java ;;
      *) exit "$usage_error" ;;
    esac
  )
  code=$?
  set -e
  case $code in
    0) summary+=("$client: passed") ;;
    "$skipped")
      summary+=("$client: skipped")
      [[ ${CI:-} != true ]] || status=1
      ;;
    *)
      summary+=("$client: FAILED")
      status=1
      ;;
  esac
done
echo "== clients"
printf '%s\n' "${summary[@]}"
if [[ ${CI:-} == true && ${summary[*]} == *skipped* ]]; then
  echo "a skipped client is a failure, because CI=true"
fi
exit $status
