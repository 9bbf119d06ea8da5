package dev.telegate;

import com.google.protobuf.util.Durations;
import dev.telegate.v1.AcquireRequest;
import dev.telegate.v1.AcquireResponse;
import dev.telegate.v1.GetPoolStatusRequest;
import dev.telegate.v1.PoolStatus;
import dev.telegate.v1.SessionPoolGrpc;
import dev.telegate.v1.SessionPoolGrpc.SessionPoolBlockingStub;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;

/** Leases sessions of one pool. Connects lazily; safe to share between threads. */
public final class TelegateClient implements AutoCloseable {
    /** How long a call may take, besides the wait that it asks for. */
    public static final Duration CALL_TIMEOUT = Duration.ofSeconds(10);

    private static final Duration CLOSE_TIMEOUT = Duration.ofSeconds(5);
    private static final Metadata.Key<String> KEY_HEADER =
            Metadata.Key.of("x-api-key", Metadata.ASCII_STRING_MARSHALLER);

    private final ManagedChannel channel;
    private final SessionPoolBlockingStub stub;
    private final String pool;

    /**
     * A client over a plaintext connection, which is for loopback and for networks that encrypt
     * by themselves: the API key and the credentials travel on it.
     *
     * @param address the broker's "host:port"
     * @param pool the pool's name
     * @param key the API key; empty for a broker that runs without keys
     */
    public TelegateClient(String address, String pool, String key) {
        this(address, pool, key, InsecureChannelCredentials.create());
    }

    /** A client over a connection that is secured as the credentials say. */
    public TelegateClient(
            String address, String pool, String key, ChannelCredentials credentials) {
        this.pool = pool;
        this.channel = Grpc.newChannelBuilder(address, credentials).build();
        Metadata headers = new Metadata();
        if (!key.isEmpty()) {
            headers.put(KEY_HEADER, key);
        }
        this.stub = SessionPoolGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
    }

    /**
     * Leases a session.
     *
     * @throws TelegateException for example with reason POOL_BUSY
     */
    public Lease acquire() {
        return acquire(wishes -> {});
    }

    /** Leases a session as the wishes say; the pool is already set in the request. */
    public Lease acquire(Consumer<AcquireRequest.Builder> wishes) {
        AcquireRequest.Builder request = AcquireRequest.newBuilder().setPool(pool);
        wishes.accept(request);
        Duration wait = Duration.ofMillis(Durations.toMillis(request.getWait()));
        AcquireResponse granted =
                call(CALL_TIMEOUT.plus(wait), stub -> stub.acquire(request.build()));
        return new Lease(this, granted);
    }

    /** Counts the pool's sessions by state. */
    public PoolStatus status() {
        GetPoolStatusRequest request = GetPoolStatusRequest.newBuilder().setPool(pool).build();
        return call(CALL_TIMEOUT, stub -> stub.getPoolStatus(request)).getStatus();
    }

    /** Closes the connection. Releases nothing. */
    @Override
    public void close() {
        channel.shutdown();
        try {
            if (!channel.awaitTermination(CLOSE_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS)) {
                channel.shutdownNow();
            }
        } catch (InterruptedException interrupted) {
            channel.shutdownNow();
            Thread.currentThread().interrupt();
        }
    }

    <T> T call(Duration timeout, Function<SessionPoolBlockingStub, T> verb) {
        try {
            return verb.apply(stub.withDeadlineAfter(timeout.toMillis(), TimeUnit.MILLISECONDS));
        } catch (StatusRuntimeException error) {
            throw TelegateException.from(error);
        }
    }
}
