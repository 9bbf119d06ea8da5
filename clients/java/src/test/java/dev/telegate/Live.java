package dev.telegate;

import com.google.protobuf.util.Durations;
import dev.telegate.v1.ReleaseOutcome;
import dev.telegate.v1.ReleaseResponse;
import dev.telegate.v1.TelegramError;
import dev.telegate.v1.Verdict;
import dev.telegate.v1.VerdictAction;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/** Plays a worker against a live broker: TELEGATE_ADDRESS, TELEGATE_KEY, TELEGATE_POOL. */
final class Live {
    /** The largest pool that is emptied before the test calls it endless. */
    private static final int MAX_SESSIONS = 64;

    private int passed;
    private int failed;

    private Live() {}

    public static void main(String[] arguments) {
        Map<String, String> environment = System.getenv();
        Live test = new Live();
        try {
            test.run(
                    environment.getOrDefault("TELEGATE_ADDRESS", ""),
                    environment.getOrDefault("TELEGATE_POOL", "demo"),
                    environment.getOrDefault("TELEGATE_KEY", ""));
        } catch (TelegateException | IllegalStateException error) {
            test.check("the run ends well (" + error + ")", false, true);
        }
        System.out.println(test.passed + " passed, " + test.failed + " failed");
        System.exit(test.failed > 0 ? 1 : 0);
    }

    private void check(String sentence, Object got, Object wanted) {
        if (Objects.equals(got, wanted)) {
            passed++;
        } else {
            failed++;
            System.out.println("FAILED: " + sentence + ": got " + got + ", wanted " + wanted);
        }
    }

    private void run(String address, String pool, String key) {
        missingAndWrongKeysAreRefused(address, pool);
        try (TelegateClient client = new TelegateClient(address, pool, key)) {
            aPoolLendsEachSessionOnce(client, pool);
            anErrorClosesTheChatForItsSession(client);
        }
    }

    private static TelegateException acquireWith(String address, String pool, String key) {
        try (TelegateClient client = new TelegateClient(address, pool, key);
                Lease lease = client.acquire()) {
            throw new IllegalStateException("the call went through: " + lease);
        } catch (TelegateException error) {
            return error;
        }
    }

    private void missingAndWrongKeysAreRefused(String address, String pool) {
        TelegateException missing = acquireWith(address, pool, "");
        System.out.println("without key: " + missing.code() + " " + missing.reason() + " "
                + missing.metadata());
        check("no key: the code", missing.code(), Status.Code.UNAUTHENTICATED);
        check("no key: the reason", missing.reason(), "API_KEY_MISSING");
        check("no key: the header to send", missing.metadata().get("header"), "x-api-key");
        check("no key: waiting does not help", missing.retryAfter(), Optional.empty());
        check("no key: the request has an id", missing.requestId().isEmpty(), false);

        TelegateException wrong = acquireWith(address, pool, "tg_wrong");
        check("wrong key: the code", wrong.code(), Status.Code.PERMISSION_DENIED);
        check("wrong key: the reason", wrong.reason(), "API_KEY_INVALID");
    }

    private void aPoolLendsEachSessionOnce(TelegateClient client, String pool) {
        int free = client.status().getCounts().getFree();
        List<Lease> leases = new ArrayList<>();
        try {
            TelegateException busy = acquireUntilRefused(client, leases);
            eachIsAnother(leases);
            check("every free session was lent", leases.size(), free);
            tellsWhenToRetry(busy, pool, leases.size());
            if (leases.isEmpty()) {
                throw new IllegalStateException("no session to lend");
            }
            renewAndRelease(leases.get(0));
        } finally {
            // Also when the run fails: what is not released stays leased for the next run.
            leases.forEach(this::releaseInTheEnd);
        }
        check("all sessions are free again", client.status().getCounts().getFree(), free);
    }

    private void releaseInTheEnd(Lease lease) {
        try {
            lease.release();
        } catch (TelegateException error) {
            check("released in the end", error, null);
        }
    }

    private static TelegateException acquireUntilRefused(
            TelegateClient client, List<Lease> leases) {
        while (leases.size() < MAX_SESSIONS) {
            try {
                leases.add(client.acquire(wishes -> wishes.setTtl(Durations.fromSeconds(60))));
            } catch (TelegateException error) {
                return error;
            }
        }
        throw new IllegalStateException("more than " + MAX_SESSIONS + " leases");
    }

    private void eachIsAnother(List<Lease> leases) {
        List<String> names = leases.stream().map(lease -> lease.session().getName()).toList();
        System.out.println("acquired: " + String.join(", ", names));
        Set<String> ids = new HashSet<>(leases.stream().map(Lease::id).toList());
        check("none was lent twice", new HashSet<>(names).size(), leases.size());
        check("no lease id came twice", ids.size(), leases.size());
        for (Lease lease : leases) {
            int length = lease.credential().getTelegram().getAuthKey().size();
            check("a credential came with it", length, 256);
            check("the epoch is set", Long.compareUnsigned(lease.epoch(), 0) > 0, true);
            check("printing hides the lease id", lease.toString().contains(lease.id()), false);
        }
    }

    private void tellsWhenToRetry(TelegateException busy, String pool, int leased) {
        Duration retryAfter = busy.retryAfter().orElse(Duration.ZERO);
        System.out.println("then: " + busy.code() + " " + busy.reason() + ", retry after "
                + retryAfter.toMillis() + " ms");
        System.out.println("      " + new TreeMap<>(busy.metadata()));
        check("busy: the code", busy.code(), Status.Code.RESOURCE_EXHAUSTED);
        check("busy: the reason", busy.reason(), "POOL_BUSY");
        check("busy: the pool", busy.metadata().get("pool"), pool);
        check("busy: none is free", busy.metadata().get("free"), "0");
        check("busy: all are leased", busy.metadata().get("leased"), Integer.toString(leased));
        boolean told = busy.metadata().containsKey("next_release_in");
        check("busy: the soonest end is told", told, true);
        boolean soon = retryAfter.compareTo(Duration.ZERO) > 0
                && retryAfter.compareTo(Duration.ofSeconds(90)) < 0;
        check("busy: waiting helps", soon, true);
        check("busy: the request has an id", busy.requestId().isEmpty(), false);
    }

    private void anErrorClosesTheChatForItsSession(TelegateClient client) {
        String peer = "channel:java";
        String method = "messages.sendMessage";
        TelegramError answered = TelegramError.newBuilder()
                .setCode(420)
                .setMessage("SLOWMODE_WAIT_30")
                .setMethod(method)
                .setPeer(peer)
                .build();
        Lease lease = client.acquire(wishes -> wishes.addMethods(method).setPeer(peer));
        Verdict verdict = lease.report(answered);
        System.out.println("verdict: " + verdict.getRule() + " " + verdict.getSubject());
        check("the rule", verdict.getRule(), "W3");
        check("the action", verdict.getAction(), VerdictAction.VERDICT_ACTION_COOL_DOWN);
        check("the subject", verdict.getSubject(), peer);
        ReleaseResponse released = lease.release(more -> more.setError(answered));
        Verdict again = released.getVerdict();
        check("released with an error: the verdict", again.getRule(), "W3");
        ReleaseOutcome outcome = ReleaseOutcome.RELEASE_OUTCOME_RELEASED;
        check("released with an error: the outcome", released.getOutcome(), outcome);
        String name = lease.session().getName();
        try (Lease same = client.acquire(wishes -> wishes.setSession(name).setPeer(peer))) {
            check("it cools down: the reason", same.toString(), "POOL_FLOOD_WAIT");
        } catch (TelegateException refused) {
            check("it cools down: the reason", refused.reason(), "POOL_FLOOD_WAIT");
            check("it cools down: waiting helps", refused.retryAfter().isPresent(), true);
        }
    }

    private void renewAndRelease(Lease lease) {
        var before = lease.expireTime();
        lease.renew(Duration.ofMinutes(2));
        System.out.println("renewed: " + lease + " for " + lease.ttl().toSeconds() + " s");
        check("renewed: the TTL is as wished", lease.ttl(), Duration.ofMinutes(2));
        boolean moved = lease.expireTime().isAfter(before.plusSeconds(30));
        check("renewed: the end has moved", moved, true);

        ReleaseOutcome first = lease.release().getOutcome();
        ReleaseOutcome second = lease.release().getOutcome();
        System.out.println("released: " + first + ", again: " + second);
        check("released", first, ReleaseOutcome.RELEASE_OUTCOME_RELEASED);
        check("released twice is OK", second, ReleaseOutcome.RELEASE_OUTCOME_ALREADY_ENDED);
        try {
            lease.renew(Duration.ZERO);
            check("a released lease is lost", "renewed", "LEASE_LOST");
        } catch (TelegateException lost) {
            check("a released lease is lost", lost.reason(), "LEASE_LOST");
            check("a lost lease is over for good", lost.retryAfter(), Optional.empty());
        }
    }
}
