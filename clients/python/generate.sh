#!/bin/sh
# Generates the stubs from ../../proto into src/telegate/v1 (not committed).
# PYTHON names an interpreter that has grpcio-tools; default python3.
set -eu
cd "$(dirname "$0")"
rm -rf src/telegate/v1
"${PYTHON:-python3}" -m grpc_tools.protoc --proto_path=../../proto \
  --python_out=src --pyi_out=src --grpc_python_out=src ../../proto/telegate/v1/*.proto
echo '"""The contract, as generated code: messages and stubs of telegate.v1."""' \
  >src/telegate/v1/__init__.py
