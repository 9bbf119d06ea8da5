#!/bin/sh
# Generates the stubs from ../../proto into telegatev1 (not committed).
# PROTOC names a protoc, also as several words ("python3 -m grpc_tools.protoc"); default protoc.
# Its two plugins are tools of this module.
set -eu
cd "$(dirname "$0")"
out=telegatev1
rm -rf "$out" && mkdir "$out"
# shellcheck disable=SC2086 # PROTOC may be several words.
${PROTOC:-protoc} --proto_path=../../proto \
  --plugin=protoc-gen-go="$(go tool -n protoc-gen-go)" \
  --plugin=protoc-gen-go-grpc="$(go tool -n protoc-gen-go-grpc)" \
  --go_out=. --go_opt=module=github.com/telegate/telegate/clients/go \
  --go-grpc_out=. --go-grpc_opt=module=github.com/telegate/telegate/clients/go \
  ../../proto/telegate/v1/*.proto
