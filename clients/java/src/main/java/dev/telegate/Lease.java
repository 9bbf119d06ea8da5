package dev.telegate;

import com.google.protobuf.util.Durations;
import com.google.protobuf.util.Timestamps;
import dev.telegate.v1.AcquireResponse;
import dev.telegate.v1.Credential;
import dev.telegate.v1.ReleaseRequest;
import dev.telegate.v1.ReleaseResponse;
import dev.telegate.v1.RenewRequest;
import dev.telegate.v1.ReportRequest;
import dev.telegate.v1.Session;
import dev.telegate.v1.TelegramError;
import dev.telegate.v1.Verdict;
import java.time.Duration;
import java.time.Instant;
import java.util.function.Consumer;

/**
 * The exclusive right to one session until {@link #expireTime()}.
 *
 * <p>Closing it releases the session: disconnect from Telegram before. Nothing renews it by
 * itself. Printing it shows no secret. Safe to share between threads.
 */
public final class Lease implements AutoCloseable {
    private final TelegateClient client;
    private final Session session;
    private final Credential credential;
    private volatile dev.telegate.v1.Lease lease;

    Lease(TelegateClient client, AcquireResponse granted) {
        this.client = client;
        this.session = granted.getSession();
        this.credential = granted.getCredential();
        this.lease = granted.getLease();
    }

    /** The lease's secret name. Never log it. */
    public String id() {
        return lease.getLeaseId();
    }

    /** The fencing number, unsigned: rises with every lease of the session. */
    public long epoch() {
        return lease.getEpoch();
    }

    /** The TTL that was granted; where clocks may differ, count it from before the call. */
    public Duration ttl() {
        return Duration.ofMillis(Durations.toMillis(lease.getTtl()));
    }

    /** When the lease ends unless it is renewed, by the broker's clock. */
    public Instant expireTime() {
        return Instant.ofEpochMilli(Timestamps.toMillis(lease.getExpireTime()));
    }

    /** The session, with its running cool-downs, proxy and device profile. */
    public Session session() {
        return session;
    }

    /** The secret, in the form that was asked for. */
    public Credential credential() {
        return credential;
    }

    /**
     * Extends the lease, counted from now; a zero TTL is the pool's default.
     *
     * @throws TelegateException with reason LEASE_LOST when the lease is over
     */
    public void renew(Duration ttl) {
        RenewRequest request = RenewRequest.newBuilder()
                .setLeaseId(id())
                .setTtl(Durations.fromMillis(ttl.toMillis()))
                .build();
        lease = client.call(TelegateClient.CALL_TIMEOUT, stub -> stub.renew(request)).getLease();
    }

    /** Tells the broker what Telegram answered, and learns what to do. */
    public Verdict report(TelegramError answered) {
        ReportRequest request =
                ReportRequest.newBuilder().setLeaseId(id()).setError(answered).build();
        return client.call(TelegateClient.CALL_TIMEOUT, stub -> stub.report(request)).getVerdict();
    }

    /** Gives the session back. Twice is OK: the outcome then says that it had ended. */
    public ReleaseResponse release() {
        return release(more -> {});
    }

    /** Gives the session back with a rest, or with the error that ended the work. */
    public ReleaseResponse release(Consumer<ReleaseRequest.Builder> more) {
        ReleaseRequest.Builder request = ReleaseRequest.newBuilder().setLeaseId(id());
        more.accept(request);
        return client.call(TelegateClient.CALL_TIMEOUT, stub -> stub.release(request.build()));
    }

    @Override
    public void close() {
        release();
    }

    @Override
    public String toString() {
        return "Lease(" + session.getPool() + "/" + session.getName() + ", epoch "
                + Long.toUnsignedString(epoch()) + ")";
    }
}
