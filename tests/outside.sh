#!/usr/bin/env bash
# Drives a live broker with real grpcurl and the built command, as an operator would.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${TELEGATE_ADDRESS:-}" ]; then exec tests/with_broker.sh "$0"; fi
for tool in grpcurl grpc-health-probe; do
    if ! command -v $tool >/dev/null; then echo "outside: skipped, $tool is missing"; exit 0; fi
done

passed=0 failed=0
# expect NAME PATTERN COMMAND…: runs the command and looks for each line of the pattern.
expect() {
    local name=$1 patterns=$2 said
    shift 2
    said=$("$@" 2>&1) || true
    while IFS= read -r pattern; do
        if ! grep -qE -- "$pattern" <<<"$said"; then
            printf 'FAILED %s: no «%s» in:\n%s\n' "$name" "$pattern" "$said"
            failed=$((failed + 1))
            return
        fi
    done <<<"$patterns"
    echo "ok     $name"
    passed=$((passed + 1))
}

call() { grpcurl -plaintext -H "x-api-key: $TELEGATE_KEY" "$@"; }
pool=telegate.v1.SessionPool

expect "reflection lists the services" 'telegate.v1.SessionPool
telegate.v1.SessionAdmin
grpc.health.v1.Health' grpcurl -plaintext "$TELEGATE_ADDRESS" list
expect "reflection describes a message" 'message AcquireRequest
string request_id = 4' grpcurl -plaintext "$TELEGATE_ADDRESS" describe telegate.v1.AcquireRequest
expect "health follows the service" '"status": "SERVING"' \
    grpcurl -plaintext -d "{\"service\": \"$pool\"}" "$TELEGATE_ADDRESS" grpc.health.v1.Health/Check
for service in telegate.live telegate.v1.SessionPool telegate.v1.SessionAdmin; do
    expect "grpc-health-probe finds $service SERVING" 'status: SERVING' \
        grpc-health-probe -addr "$TELEGATE_ADDRESS" -service $service
done
expect "a call without a key" 'Code: Unauthenticated
"reason": "API_KEY_MISSING"
"requestId"' grpcurl -plaintext -d '{"pool": "demo"}' "$TELEGATE_ADDRESS" $pool/Acquire
expect "a call with a wrong key" 'Code: PermissionDenied
"reason": "API_KEY_INVALID"' \
    grpcurl -plaintext -H 'x-api-key: tg_no' -d '{"pool": "demo"}' "$TELEGATE_ADDRESS" $pool/Acquire

leases=()
for _ in 1 2 3; do
    said=$(call -d '{"pool": "demo", "ttl": "60s"}' "$TELEGATE_ADDRESS" $pool/Acquire)
    leases+=("$(sed -n 's/.*"leaseId": "\(.*\)".*/\1/p' <<<"$said")")
done
expect "three different sessions were lent" '^3$' \
    sh -c "printf '%s\n' ${leases[*]} | cut -d/ -f2 | sort -u | wc -l"
expect "the fourth finds the pool busy" 'Code: ResourceExhausted
"@type": "type.googleapis.com/google.rpc.ErrorInfo"
"reason": "POOL_BUSY"
"next_release_in"
"@type": "type.googleapis.com/google.rpc.RetryInfo"
"retryDelay"
"@type": "type.googleapis.com/google.rpc.RequestInfo"' \
    call -d '{"pool": "demo"}' "$TELEGATE_ADDRESS" $pool/Acquire
expect "a lease can be renewed" '"expireTime"' \
    call -d "{\"lease_id\": \"${leases[0]}\"}" "$TELEGATE_ADDRESS" $pool/Renew
for lease in "${leases[@]}"; do
    expect "a lease is released" 'RELEASE_OUTCOME_RELEASED' \
        call -d "{\"lease_id\": \"$lease\"}" "$TELEGATE_ADDRESS" $pool/Release
done
expect "released twice is OK" 'RELEASE_OUTCOME_ALREADY_ENDED' \
    call -d "{\"lease_id\": \"${leases[0]}\"}" "$TELEGATE_ADDRESS" $pool/Release
expect "every fault of a request is named" '"field": "pool"
"field": "ttl"' call -d '{"pool": "No!", "ttl": "-1s"}' "$TELEGATE_ADDRESS" $pool/Acquire
expect "the command sees the same pool" 'demo +.*READY' \
    target/debug/telegate --address "http://$TELEGATE_ADDRESS" --key "$TELEGATE_KEY" status demo


# Errors of Telegram: reported by grpcurl, judged, and kept in mind by Acquire.
method=messages.getHistory
for _ in 1 2 3; do
    said=$(call -d '{"pool": "demo"}' "$TELEGATE_ADDRESS" $pool/Acquire)
    lease=$(sed -n 's/.*"leaseId": "\(.*\)".*/\1/p' <<<"$said")
    expect "a flood is reported and judged" '"action": "VERDICT_ACTION_COOL_DOWN"
"scope": "COOL_DOWN_SCOPE_METHOD"
"subject": "messages.getHistory"
"otherSession": "OTHER_SESSION_YES"
"rule": "W1"
"sessionState": "SESSION_STATE_LEASED"
"name": "FLOOD_WAIT"' call -d "{\"lease_id\": \"$lease\",
        \"error\": {\"code\": 420, \"message\": \"FLOOD_WAIT_90\", \"method\": \"$method\"}}" \
        "$TELEGATE_ADDRESS" $pool/Report
    call -d "{\"lease_id\": \"$lease\"}" "$TELEGATE_ADDRESS" $pool/Release >/dev/null
done
expect "all cool down for the method" 'Code: ResourceExhausted
"@type": "type.googleapis.com/google.rpc.ErrorInfo"
"reason": "POOL_FLOOD_WAIT"
"free": "3"
"next_release_in": "[0-9.]+s"
"@type": "type.googleapis.com/google.rpc.RetryInfo"
"retryDelay": "[0-9.]+s"
"@type": "type.googleapis.com/google.rpc.QuotaFailure"
"subject": "demo"' \
    call -d '{"pool": "demo", "methods": ["GetHistoryRequest"]}' "$TELEGATE_ADDRESS" $pool/Acquire
said=$(call -d '{"pool": "demo", "methods": ["channels.getMessages"]}' \
    "$TELEGATE_ADDRESS" $pool/Acquire)
expect "another method gets a lease that lists the cool-down" '"coolDowns"
"cause": "FLOOD_WAIT"' echo "$said"
lease=$(sed -n 's/.*"leaseId": "\(.*\)".*/\1/p' <<<"$said")
expect "every fault of a report is named" '"field": "error.peer"
"field": "error"' call -d "{\"lease_id\": \"$lease\", \"error\": {\"peer\": \"a\\tb\"}}" \
    "$TELEGATE_ADDRESS" $pool/Report
expect "a slow chat is reported with the release" 'RELEASE_OUTCOME_RELEASED
"rule": "W3"
"subject": "channel:1"' call -d "{\"lease_id\": \"$lease\", \"error\": {\"type\": \"SlowModeWaitError\",
    \"argument\": 60, \"peer\": \"channel:1\"}}" "$TELEGATE_ADDRESS" $pool/Release
expect "the command tells what an error means" 'rule +W1' target/debug/telegate explain FLOOD_WAIT_17
expect "and what an escalation is" 'brake|method' target/debug/telegate explain E3

if [ -x "${TELEGATE_TEST_PYTHON:-}" ]; then
    expect "a real exception of Telethon is reported and its verdict acted on" \
        'waited for nothing, went to another session' \
        "$TELEGATE_TEST_PYTHON" tests/telegram/report_telethon.py target/debug/telegate
else
    echo "skipped: Telethon is missing; 'make tools' installs it"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
